import { FlotillaError } from '@flotilla/errors';
import { type Cidr, contains, formatCidr, gatewayOf, overlap, sizeOf } from './ipv4.ts';

/** What the host uses already. */
export interface HostAddresses {
  /** Destinations of its routes, default routes left out. */
  readonly routes: readonly Cidr[];
  /** Addresses that must stay reachable, such as its name servers. */
  readonly addresses: readonly number[];
}

/** Those of the ranges that overlap with nothing of the host, in order. */
export function freeSubnets(ranges: readonly Cidr[], { routes, addresses }: HostAddresses): Cidr[] {
  return ranges.filter(
    (range) => !routes.some((route) => overlap(range, route)) && !addresses.some((address) => contains(range, address)),
  );
}

/**
 * The next free address after the one given last: one that was given back is used again as late as possible, because
 * others may still believe that it belongs to its last owner. RESOURCE_EXHAUSTED / NO_FREE_ADDRESS.
 */
export function nextAddress(subnet: Cidr, last: number | undefined, isTaken: (address: number) => boolean): number {
  const lowest = gatewayOf(subnet) + 1;
  const count = sizeOf(subnet) - 3; // Not the network's own, the gateway's, the broadcast address.
  const start = last === undefined || !contains(subnet, last) ? 0 : last - lowest + 1;
  for (let i = 0; i < count; i++) {
    const address = lowest + ((start + i) % count);
    if (!isTaken(address)) return address;
  }
  const range = formatCidr(subnet);
  throw new FlotillaError('resource_exhausted', `no address is free in ${range}`, {
    reason: 'NO_FREE_ADDRESS',
    metadata: { range },
  });
}
