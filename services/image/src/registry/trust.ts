import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { FlotillaError } from '@flotilla/errors';

/** What is needed to trust a host, and to be trusted by it. */
export interface HostCertificates {
  readonly ca: readonly string[];
  readonly cert?: string;
  readonly key?: string;
}

/**
 * Certificates of a host as Docker and containerd lay them out: in the folder that is called as the host is (`host:port`, or
 * `host` for any port), `*.crt` are authorities, and `*.cert` with `*.key` of the same name is the client's own. Read for
 * each pull: a new one needs no restart. FAILED_PRECONDITION / INVALID_FILE.
 */
export function readHostCertificates(folders: readonly string[], host: string): HostCertificates {
  const ca: string[] = [];
  let own: { cert: string; key: string } | undefined;
  for (const folder of folders.flatMap((one) => hostFolders(one, host))) {
    const names = list(folder);
    for (const name of names) if (name.endsWith('.crt')) ca.push(readCertificate(join(folder, name)));
    const cert = names.find((name) => name.endsWith('.cert'));
    if (cert === undefined || own !== undefined) continue;
    const key = `${cert.slice(0, -'.cert'.length)}.key`;
    own = { cert: read(join(folder, cert)), key: read(join(folder, key)) };
  }
  return { ca, ...own };
}

function hostFolders(folder: string, host: string): string[] {
  const { hostname } = new URL(`https://${host}`);
  return [...new Set([host, hostname])].map((name) => join(folder, name));
}

/** The authorities that this host trusts, else those that Node brings. */
export function systemAuthorities(): readonly string[] {
  const system = getCACertificates('system');
  return system.length > 0 ? system : getCACertificates('bundled');
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw unreadable(folder, error);
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** OpenSSL passes over a file without a certificate, and says later that it trusts nobody. */
function readCertificate(path: string): string {
  const text = read(path);
  try {
    new X509Certificate(text);
    return text;
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, cause: unknown): FlotillaError {
  return new FlotillaError('failed_precondition', `${path} cannot be read: ${(cause as Error).message}`, {
    reason: 'INVALID_FILE',
    metadata: { path },
    cause,
  });
}
