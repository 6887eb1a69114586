import { randomBytes } from 'node:crypto';
import { nextAddress } from './choose-address.ts';
import type { HostNetwork } from './host-network.ts';
import type { Announce, NetworkRecords, Notes, SandboxRecords, Transact } from './interfaces.ts';
import { formatIpv4, macOf, parseCidr } from './ipv4.ts';
import type { Networks } from './networks.ts';
import { parseSandboxId, parseSandboxSpec, type SandboxPlan, type SandboxRequest } from './parse-sandbox-spec.ts';
import { type BridgePlace, type PortRule, type PublishedPort, portRulesOf, type SandboxRecord } from './records.ts';
import type { ReleasedLinks } from './released-links.ts';

export interface SandboxesOptions {
  readonly records: SandboxRecords;
  readonly networkRecords: NetworkRecords;
  readonly networks: Networks;
  readonly host: HostNetwork;
  readonly released: ReleasedLinks;
  readonly transact: Transact;
  readonly announce: Announce;
  readonly notes: Notes;
}

/**
 * Sandboxes and their places in networks. Each change is synchronous, so that nothing else happens in the middle, and is
 * written down before it is made, so that what a crash leaves half made is found at the next start.
 */
export class Sandboxes {
  readonly #options: SandboxesOptions;

  constructor(options: SandboxesOptions) {
    this.#options = options;
  }

  list(): SandboxRecord[] {
    return this.#options.records.list();
  }

  /** The rules that all published ports need. */
  readonly rules = (): PortRule[] => this.list().flatMap(portRulesOf);

  /** Checks a request, and says what its user should know. */
  check(request: SandboxRequest | undefined): readonly string[] {
    return this.#parse(request).warnings;
  }

  /** Attaches a sandbox; one that is attached already is left as it is. */
  attach(request: SandboxRequest | undefined): SandboxRecord {
    const { records, networks, host, transact } = this.#options;
    const plan = this.#parse(request);
    const there = records.find(plan.sandboxId);
    if (there !== undefined) return there;
    const subnet = plan.mode === 'bridge' ? networks.ensureBridge().subnet : undefined;
    const ports = host.holdPorts(plan.sandboxId, plan.ports);
    const record = this.#reserve(plan, ports, subnet);
    try {
      if (plan.mode !== 'host') host.build(plan.sandboxId, record.endpoint.place, plan.sysctls);
      host.publish(portRulesOf(record), this.rules);
      transact(() => {
        records.markAttached(plan.sandboxId);
        this.#announce('connect', record);
      });
    } catch (error) {
      // Whatever was wrong with the bridge, the next request looks.
      networks.doubtBridge();
      this.#undo(record);
      throw error;
    }
    return { ...record, state: 'attached' };
  }

  /** Takes a sandbox's network away; one that is not attached is no error. */
  detach(sandboxId: string): void {
    const record = this.#options.records.find(parseSandboxId(sandboxId, 'sandbox_id'));
    if (record !== undefined) this.forget(record);
  }

  /** The same for a record. */
  forget(record: SandboxRecord): void {
    const { records, transact } = this.#options;
    transact(() => {
      records.release(record);
      if (record.state === 'attached') this.#announce('disconnect', record);
    });
    this.#dismantle(record);
  }

  /** Puts the rules back in place when somebody has flushed them. */
  keepRules(): void {
    const { networks, host, notes } = this.#options;
    if (!networks.isBridgeReady || host.hasRules()) return;
    notes.warn({}, 'the rules were flushed by somebody, putting them in place again');
    networks.doubtBridge();
    networks.ensureBridge();
  }

  #parse(request: SandboxRequest | undefined): SandboxPlan {
    return parseSandboxSpec(request, (reference) => this.#options.networks.get(reference));
  }

  #reserve(plan: SandboxPlan, ports: readonly PublishedPort[], subnet: string | undefined): SandboxRecord {
    const { records, transact, host } = this.#options;
    const { sandboxId, mode, network } = plan;
    try {
      return transact(() => {
        const place = subnet === undefined ? undefined : this.#choosePlace(plan, subnet);
        const endpoint = { endpointId: randomBytes(32).toString('hex'), networkId: network.networkId, place };
        const record: SandboxRecord = { sandboxId, mode, state: 'attaching', endpoint, ports };
        records.add(record);
        return record;
      });
    } catch (error) {
      host.releasePorts(ports);
      throw error;
    }
  }

  #choosePlace({ network: { networkId }, mac }: SandboxPlan, subnet: string): BridgePlace {
    const { records, networkRecords, host } = this.#options;
    const cidr = parseCidr(subnet);
    if (cidr === undefined) throw new RangeError(`stored subnet ${subnet}`);
    const address = nextAddress(cidr, networkRecords.findLastAddress(networkId), (candidate) =>
      records.isTaken(networkId, formatIpv4(candidate)),
    );
    networkRecords.setLastAddress(networkId, address);
    const hostLink = `${host.linkPrefix}${randomBytes(4).toString('hex')}`;
    return { hostLink, address: formatIpv4(address), mac: mac ?? macOf(address) };
  }

  /** A failure of the undoing is told beside the first, not instead of it. */
  #undo(record: SandboxRecord): void {
    try {
      this.forget(record);
    } catch (err) {
      this.#options.notes.warn({ err, containerId: record.sandboxId }, 'a half-made sandbox was not removed cleanly');
    }
  }

  /** Does all of it, also when one part fails. */
  #dismantle(record: SandboxRecord): void {
    const { host, released } = this.#options;
    using all = new DisposableStack();
    all.defer(() => {
      if (record.endpoint.place !== undefined) released.watch(record.endpoint.place.hostLink);
    });
    if (record.mode !== 'host') all.defer(() => host.release(record.sandboxId));
    all.defer(() => host.releasePorts(record.ports));
    all.defer(() => host.unpublish(portRulesOf(record), this.rules));
  }

  #announce(action: 'connect' | 'disconnect', { sandboxId, endpoint }: SandboxRecord): void {
    const { networks, announce } = this.#options;
    announce(action, networks.get(endpoint.networkId), { container: sandboxId });
  }
}
