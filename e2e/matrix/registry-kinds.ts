import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { captain, Registry } from '../harness/registry.ts';
import { mustRun } from '../harness/run-program.ts';
import { TokenServer, tokenIssuer, tokenService } from './token-server.ts';

/** The ways in which Debian's docker-registry is met. */
export const registryKinds = ['plain', 'tls', 'basic', 'token'] as const;
export type RegistryKind = (typeof registryKinds)[number];

/** The name that the certificate is for; see `own-names.ts`. */
export const tlsName = 'registry.test';

/** Docker trusts whatever answers on 127.0.0.0/8; on ::1, where `tls` is, it wants a certificate that it can verify. */
export function startRegistry(kind: RegistryKind, authority: Authority): Promise<Registry> {
  const { certificate, tokens, serverCertificate, serverKey } = authority;
  switch (kind) {
    case 'plain':
      return Registry.start({ auth: 'nobody' });
    case 'tls':
      return Registry.start({
        auth: 'nobody',
        tls: { name: tlsName, certificate: serverCertificate, key: serverKey },
      });
    case 'basic':
      return Registry.start();
    case 'token':
      return Registry.start({
        auth: { realm: tokens.url, service: tokenService, issuer: tokenIssuer, rootcertbundle: certificate },
      });
  }
}

/** A certificate authority of one's own, what it has certified, and the token server that signs by it. */
export interface Authority {
  readonly certificate: string;
  readonly serverCertificate: string;
  readonly serverKey: string;
  readonly tokens: TokenServer;
}

export async function makeAuthority(folder: string, stack: AsyncDisposableStack): Promise<Authority> {
  const at = (name: string) => join(folder, name);
  await mustRun(
    'sh',
    [
      '-ec',
      `openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt
      openssl req -newkey rsa:2048 -nodes -subj /CN=${tlsName} -keyout server.key -out server.csr
      printf 'subjectAltName=DNS:${tlsName}' > names
      openssl x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out server.crt`,
    ],
    { cwd: folder },
  );
  const tokens = stack.use(await TokenServer.start(at('ca.crt'), at('ca.key')));
  return { certificate: at('ca.crt'), serverCertificate: at('server.crt'), serverKey: at('server.key'), tokens };
}

/** Docker's settings of who is logged in at these, which all the tools read: `config.json` in the folder. */
export function writeLogins(folder: string, registries: readonly Registry[]): void {
  const auth = Buffer.from(`${captain.username}:${captain.password}`).toString('base64');
  const auths = Object.fromEntries(registries.map(({ host }) => [host, { auth }]));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ auths }));
}
