import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { mustRun } from '../harness/run-program.ts';
import { tlsName } from './registry-kinds.ts';

/** Variable with the mount namespace in which the program was called, for the part of it that runs in one of its own. */
export const hostNamespace = 'FLOTILLA_MATRIX_HOST_NAMESPACE';

export function ownNamespace(): string {
  return readlinkSync('/proc/self/ns/mnt');
}

/**
 * Lays a folder over the host's /etc in which the TLS registry has a name and its authority is trusted for it. Only in a mount
 * namespace of one's own: see run.ts.
 */
export async function coverEtc(folder: string): Promise<void> {
  if ([undefined, ownNamespace()].includes(process.env[hostNamespace])) {
    throw new Error("the registry kind `tls` would cover the host's /etc: it needs a mount namespace of its own");
  }
  const [upper, work] = [join(folder, 'etc'), join(folder, 'etc-work')];
  for (const path of [upper, work]) mkdirSync(path);
  await mustRun('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=/etc,upperdir=${upper},workdir=${work}`, '/etc']);
  writeFileSync('/etc/hosts', `${readFileSync('/etc/hosts', 'utf8')}\n::1 ${tlsName}\n`);
}

/** Has all tools trust an authority for a host. */
export function trust(host: string, certificate: string): void {
  const folder = join('/etc/docker/certs.d', host);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'ca.crt'), readFileSync(certificate));
}
