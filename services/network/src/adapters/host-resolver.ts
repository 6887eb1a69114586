import { readFileSync } from 'node:fs';
import { isReachableFromInside, parseResolvConf, type ResolverSettings } from '../domain/resolv-conf.ts';

/** The second is systemd-resolved's own: with it the first names only a resolver on the loopback address. */
const files = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** How containers resolve names: as the host does, with those of its name servers that they can reach. */
export function readHostResolver(): ResolverSettings {
  let first: ResolverSettings | undefined;
  for (const file of files) {
    const settings = parseResolvConf(readIfThere(file));
    const nameservers = settings.nameservers.filter(isReachableFromInside);
    first ??= { ...settings, nameservers };
    if (nameservers.length > 0) return { ...first, nameservers };
  }
  return first ?? parseResolvConf('');
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
