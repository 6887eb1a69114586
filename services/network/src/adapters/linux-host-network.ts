import { isErrno } from '@flotilla/linux';
import { deleteLink, getLink, type Link, listLinks, NetlinkSocket } from '@flotilla/linux/netlink';
import type { Logger } from '@flotilla/log';
import type { HostNetwork, LinkRepair } from '../domain/host-network.ts';
import { type Cidr, formatCidr } from '../domain/ipv4.ts';
import type { BridgePlace, PortRule, PublishedPort, SandboxRecord } from '../domain/records.ts';
import { tableName } from '../domain/ruleset.ts';
import { Bridge, type BridgeState, linkPrefix } from './bridge.ts';
import { Firewall, type FirewalledBridge } from './firewall.ts';
import { NamespacePool } from './namespace-pool.ts';
import { PortHolder } from './port-holder.ts';
import { enablePort, setSysctls, wire } from './wiring.ts';

export interface LinuxHostNetworkOptions {
  readonly instance: string;
  /** `${FLOTILLA_RUN}/netns`. */
  readonly namespaceFolder: string;
  readonly warmNamespaces: number;
  readonly ranges: readonly Cidr[];
  readonly mtu: number;
  readonly log: Logger;
}

/** The network of the host that this process runs on. */
export class LinuxHostNetwork implements HostNetwork, Disposable {
  readonly bridgeLink: string;
  readonly linkPrefix: string;
  readonly #stack = new DisposableStack();
  readonly #socket: NetlinkSocket;
  readonly #bridge: Bridge;
  readonly #pool: NamespacePool;
  readonly #firewall: Firewall;
  readonly #ports: PortHolder;
  #state: BridgeState | undefined;

  constructor({ instance, namespaceFolder, warmNamespaces, ranges, mtu, log }: LinuxHostNetworkOptions) {
    this.#socket = this.#stack.use(new NetlinkSocket());
    this.#firewall = this.#stack.use(new Firewall(tableName(instance), log));
    this.#ports = this.#stack.use(new PortHolder());
    this.#pool = this.#stack.use(new NamespacePool({ folder: namespaceFolder, size: warmNamespaces, log }));
    this.#bridge = new Bridge(this.#socket, { instance, ranges, mtu }, log);
    this.bridgeLink = this.#bridge.link;
    this.linkPrefix = linkPrefix(instance);
  }

  ensureBridge(wanted: string | undefined, rules: () => readonly PortRule[]): string {
    this.#state = this.#bridge.ensure(wanted);
    this.#firewall.replace(this.#firewalled(), rules());
    return formatCidr(this.#state.subnet);
  }

  isBridgeThere(): boolean {
    return this.isLinkThere(this.bridgeLink);
  }

  build(sandboxId: string, place: BridgePlace | undefined, sysctls: Readonly<Record<string, string>>): void {
    using namespace = this.#pool.take(sandboxId);
    if (place !== undefined) wire(this.#socket, this.#ready(), namespace, place);
    setSysctls(namespace, sysctls);
  }

  release(sandboxId: string): void {
    this.#pool.release(sandboxId);
  }

  netnsPath(sandboxId: string): string {
    return this.#pool.pathOf(sandboxId);
  }

  hasNamespace(sandboxId: string): boolean {
    using namespace = this.#pool.open(sandboxId);
    return namespace !== undefined;
  }

  startNamespaces(sandboxIds: ReadonlySet<string>): void {
    this.#pool.start(sandboxIds);
  }

  repairLinks(sandboxes: readonly SandboxRecord[]): LinkRepair {
    const ours = listLinks(this.#socket).filter(
      ({ name, kind }) => kind === 'veth' && name.startsWith(this.linkPrefix),
    );
    const left = new Map(ours.map((link) => [link.name, link]));
    const mended: string[] = [];
    for (const { sandboxId, endpoint } of sandboxes) {
      if (endpoint.place === undefined) continue;
      if (this.#repairLink(sandboxId, endpoint.place, left.get(endpoint.place.hostLink))) mended.push(sandboxId);
      left.delete(endpoint.place.hostLink);
    }
    return { mended, orphans: [...left.keys()] };
  }

  /** Whether there was something to mend. */
  #repairLink(sandboxId: string, place: BridgePlace, link: Link | undefined): boolean {
    const bridge = this.#ready();
    if (link === undefined) {
      using namespace = this.#pool.open(sandboxId);
      if (namespace !== undefined) wire(this.#socket, bridge, namespace, place);
      return true;
    }
    if (link.master === bridge.index && link.up) return false;
    enablePort(this.#socket, link.index, bridge.index);
    return true;
  }

  isLinkThere(hostLink: string): boolean {
    try {
      getLink(this.#socket, { name: hostLink });
      return true;
    } catch (error) {
      if (isErrno(error, 'ENODEV')) return false;
      throw error;
    }
  }

  removeLink(hostLink: string): void {
    try {
      this.#socket.execute(deleteLink({ name: hostLink }));
    } catch (error) {
      if (!isErrno(error, 'ENODEV')) throw error;
    }
  }

  holdPorts(sandboxId: string, ports: readonly PublishedPort[]): PublishedPort[] {
    return this.#ports.hold(sandboxId, ports);
  }

  releasePorts(ports: readonly PublishedPort[]): void {
    this.#ports.release(ports);
  }

  publish(rules: readonly PortRule[], all: () => readonly PortRule[]): void {
    if (rules.length > 0) this.#firewall.publish(this.#firewalled(), rules, all);
  }

  unpublish(rules: readonly PortRule[], all: () => readonly PortRule[]): void {
    // Before the bridge is ready no rule is of this process's making, and all are replaced when it is.
    if (rules.length > 0 && this.#state !== undefined) this.#firewall.unpublish(this.#firewalled(), rules, all);
  }

  hasRules(): boolean {
    return this.#firewall.isThere();
  }

  /** Takes bridge and rules away: for an instance without sandboxes that stops. */
  removeBridge(): void {
    this.#firewall.remove();
    this.#bridge.remove();
    this.#state = undefined;
  }

  #ready(): BridgeState {
    if (this.#state === undefined) throw new Error('the bridge is used before it is made');
    return this.#state;
  }

  #firewalled(): FirewalledBridge {
    const { link, subnet } = this.#ready();
    return { link, subnet: formatCidr(subnet) };
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
