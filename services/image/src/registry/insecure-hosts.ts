import { BlockList, isIP } from 'node:net';
import { invalidField } from '@flotilla/errors';

/**
 * Registries that need no certificate that we trust, and may speak plain HTTP: those listed, by `host`, `host:port` or
 * network (`10.0.0.0/8`), and, as with Docker, those on loopback. Names are not looked up.
 */
export class InsecureHosts {
  readonly #names = new Set<string>();
  readonly #networks = new BlockList();

  constructor(listed: readonly string[]) {
    this.#networks.addSubnet('127.0.0.0', 8, 'ipv4');
    this.#networks.addAddress('::1', 'ipv6');
    for (const text of listed) this.#add(text.toLowerCase());
  }

  #add(text: string): void {
    const network = /^(.+)[/](\d{1,3})$/.exec(text);
    if (network === null) {
      if (!/^(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?$/.test(text)) throw refused(text);
      this.#names.add(text);
      return;
    }
    const version = isIP(network[1]!);
    if (version === 0 || Number(network[2]) > (version === 4 ? 32 : 128)) throw refused(text);
    this.#networks.addSubnet(network[1]!, Number(network[2]), version === 4 ? 'ipv4' : 'ipv6');
  }

  /** `host` may have a port. */
  has(host: string): boolean {
    const { hostname } = new URL(`https://${host}`);
    return this.#names.has(host.toLowerCase()) || this.#names.has(hostname) || this.#isInNetwork(hostname);
  }

  #isInNetwork(hostname: string): boolean {
    return (
      isLoopback(hostname) || (isIP(bare(hostname)) !== 0 && this.#networks.check(bare(hostname), family(hostname)))
    );
  }
}

/** Whether a host is this one, and so never behind a proxy. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || bare(hostname) === '::1' || (isIP(hostname) === 4 && hostname.startsWith('127.'));
}

const bare = (hostname: string) => hostname.replace(/^\[|\]$/g, '');
const family = (hostname: string) => (isIP(bare(hostname)) === 4 ? 'ipv4' : 'ipv6');

function refused(text: string): Error {
  return invalidField(
    'setting registryInsecure',
    'a list of `host`, `host:port` or networks such as `10.0.0.0/8`',
    text,
  );
}
