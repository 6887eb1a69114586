import { createHash } from 'node:crypto';
import { FlotillaError } from '@flotilla/errors';
import { isErrno } from '@flotilla/linux';
import {
  addAddress,
  addBridge,
  addRoute,
  deleteAddress,
  deleteLink,
  getLink,
  type Link,
  listAddresses,
  listLinks,
  listRoutes,
  type NetlinkSocket,
  setLink,
} from '@flotilla/linux/netlink';
import type { Logger } from '@flotilla/log';
import { freeSubnets } from '../domain/choose-address.ts';
import { type Cidr, formatCidr, formatIpv4, gatewayOf, macOf, parseCidr, parseIpv4 } from '../domain/ipv4.ts';
import { readHostResolver } from './host-resolver.ts';
import { disableIpv6, enableForwarding, routeLoopbackThrough } from './host-settings.ts';

/** A bridge that is there. */
export interface BridgeState {
  readonly index: number;
  readonly link: string;
  readonly subnet: Cidr;
  readonly mtu: number;
}

export interface BridgeOptions {
  readonly instance: string;
  /** In order of preference. */
  readonly ranges: readonly Cidr[];
  /** 0: that of the host's default route. */
  readonly mtu: number;
}

/** Name of an instance's bridge, at most 15 bytes. */
export function bridgeName(instance: string): string {
  return instance === 'flotilla' ? 'flotilla0' : instance.slice(0, 15);
}

/** What the names of all of an instance's veth links begin with, on the host: 7 of their 15 bytes. */
export function linkPrefix(instance: string): string {
  return `f${createHash('sha256').update(instance).digest('hex').slice(0, 6)}`;
}

/** The instance's bridge on the host. */
export class Bridge {
  readonly link: string;
  readonly #socket: NetlinkSocket;
  readonly #options: BridgeOptions;
  readonly #log: Logger;

  constructor(socket: NetlinkSocket, options: BridgeOptions, log: Logger) {
    this.#socket = socket;
    this.#options = options;
    this.#log = log;
    this.link = bridgeName(options.instance);
  }

  /**
   * Makes the bridge, or mends what is missing of it. `wanted` is the range it had before: another one is taken only when
   * the bridge is gone and the host has come to use that range. FAILED_PRECONDITION / NO_FREE_SUBNET.
   */
  ensure(wanted: string | undefined): BridgeState {
    const link = this.#findOrAdd();
    disableIpv6(this.link);
    this.#socket.execute(setLink({ index: link.index }, { up: true }));
    const subnet = this.#ensureSubnet(link, wanted === undefined ? undefined : parseCidr(wanted));
    enableForwarding();
    routeLoopbackThrough(this.link);
    return { index: link.index, link: this.link, subnet, mtu: link.mtu };
  }

  /** Takes the bridge away, if it is there. */
  remove(): void {
    try {
      this.#socket.execute(deleteLink({ name: this.link }));
    } catch (error) {
      if (!isErrno(error, 'ENODEV')) throw error;
    }
  }

  #findOrAdd(): Link {
    const found = listLinks(this.#socket).find(({ name }) => name === this.link);
    if (found !== undefined && found.kind !== 'bridge') {
      throw new FlotillaError('failed_precondition', `the link ${this.link} is there but is no bridge of this engine`, {
        reason: 'LINK_NAME_TAKEN',
        metadata: { link: this.link },
      });
    }
    if (found !== undefined) return found;
    this.#socket.execute(addBridge({ name: this.link, mtu: this.#options.mtu || this.#hostMtu() }));
    return getLink(this.#socket, { name: this.link });
  }

  #hostMtu(): number {
    const route = listRoutes(this.#socket).find(({ destination }) => destination === '0.0.0.0/0');
    return route?.link === undefined ? 1500 : getLink(this.#socket, { index: route.link }).mtu;
  }

  #ensureSubnet(link: Link, wanted: Cidr | undefined): Cidr {
    const had = listAddresses(this.#socket, { link: link.index })
      .map(({ address }) => parseCidr(address))
      .find((cidr) => cidr !== undefined);
    if (had !== undefined && (wanted === undefined || formatCidr(had) === formatCidr(wanted))) {
      this.#claim(link, had);
      return had;
    }
    const taken = { routes: this.#otherRoutes(link), addresses: nameserverAddresses() };
    const free = freeSubnets(wanted === undefined ? this.#options.ranges : [wanted, ...this.#options.ranges], taken);
    for (const subnet of free) {
      if (!this.#claim(link, subnet)) continue;
      if (wanted !== undefined && formatCidr(subnet) !== formatCidr(wanted)) {
        this.#log.warn(
          { was: formatCidr(wanted), subnet: formatCidr(subnet) },
          'the host uses the range, took another',
        );
      }
      return subnet;
    }
    throw new FlotillaError(
      'failed_precondition',
      'the host uses all address ranges: set others in the setting subnets',
      {
        reason: 'NO_FREE_SUBNET',
      },
    );
  }

  /**
   * Takes a range for the bridge: false when somebody else has it. The kernel refuses a second route to the same range,
   * so of two instances that start at once only one gets it.
   */
  #claim({ index }: Link, subnet: Cidr): boolean {
    const gateway = formatIpv4(gatewayOf(subnet));
    const address = { link: index, address: `${gateway}/${subnet.prefixLength}` };
    try {
      this.#socket.execute(addAddress({ ...address, noPrefixRoute: true }));
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
    }
    try {
      this.#socket.execute(addRoute({ destination: formatCidr(subnet), link: index, source: gateway }));
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error;
      const own = listRoutes(this.#socket).some(
        (route) => route.destination === formatCidr(subnet) && route.link === index,
      );
      if (!own) this.#socket.execute(deleteAddress(address));
      return own;
    }
    this.#socket.execute(setLink({ index }, { mac: macOf(gatewayOf(subnet)) }));
    return true;
  }

  #otherRoutes({ index }: Link): Cidr[] {
    return listRoutes(this.#socket)
      .filter(({ link, destination }) => link !== index && destination !== '0.0.0.0/0')
      .map(({ destination }) => parseCidr(destination))
      .filter((cidr) => cidr !== undefined);
  }
}

function nameserverAddresses(): number[] {
  return readHostResolver()
    .nameservers.map((text) => parseIpv4(text))
    .filter((address) => address !== undefined);
}
