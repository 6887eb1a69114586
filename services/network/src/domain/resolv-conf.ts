import { isIP } from 'node:net';

/** What containers take over from a host's resolv.conf(5). */
export interface ResolverSettings {
  readonly nameservers: readonly string[];
  readonly searchDomains: readonly string[];
  readonly options: readonly string[];
}

/** Parses resolv.conf(5); lines that are none are left out, as every resolver does. The last `search` or `domain` counts. */
export function parseResolvConf(text: string): ResolverSettings {
  const nameservers: string[] = [];
  let searchDomains: string[] = [];
  let options: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && isIP(values[0] ?? '') !== 0) nameservers.push(values[0] ?? '');
    if (keyword === 'search' || keyword === 'domain') searchDomains = values.filter((domain) => domain !== '.');
    if (keyword === 'options') options = values;
  }
  return { nameservers, searchDomains, options };
}

/** Whether a name server can be asked from inside a container that has IPv4 alone. */
export function isReachableFromInside(nameserver: string): boolean {
  return isIP(nameserver) === 4 && !nameserver.startsWith('127.') && nameserver !== '0.0.0.0';
}
