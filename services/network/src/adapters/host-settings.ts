import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Sets a kernel parameter of the calling thread's network namespace: `net/ipv4/ip_forward`. Left alone when it is so. */
export function setKernelParameter(name: string, value: string): void {
  const path = join('/proc/sys', name);
  if (readFileSync(path, 'utf8').trim() !== value) writeFileSync(path, value);
}

/** No IPv6 of its own on a link, nor routes from whoever announces some. Kernels without IPv6 have nothing to switch off. */
export function disableIpv6(link: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${link}/disable_ipv6`, '1');
    writeFileSync(`/proc/sys/net/ipv6/conf/${link}/accept_ra`, '0');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Packets between other hosts and containers pass through this one. */
export function enableForwarding(): void {
  setKernelParameter('net/ipv4/ip_forward', '1');
}

/** Replies to connections from the host's loopback address come in by this link. */
export function routeLoopbackThrough(link: string): void {
  setKernelParameter(`net/ipv4/conf/${link}/route_localnet`, '1');
}
