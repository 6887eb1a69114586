import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DebianRegistry } from './debian-registry.ts';
import { shell } from './sample-images.ts';
import { TokenServer, tokenIssuer, tokenService } from './token-server.ts';

/** Who may have what, at those registries that ask. */
export const captain = { username: 'captain', password: 'aye aye', refreshToken: 'refresh-me' } as const;

/** Debian's docker-registry in the four ways in which it may be met, each in a process of its own. */
export interface Registries {
  readonly plain: DebianRegistry;
  /** Its certificate is for `registry.test`, by the authority `ca.crt` in the folder. */
  readonly secure: DebianRegistry;
  readonly basic: DebianRegistry;
  readonly token: DebianRegistry;
  readonly tokens: TokenServer;
}

/** Starts them; they end with the stack. */
export async function startRegistries(folder: string, stack: AsyncDisposableStack): Promise<Registries> {
  const at = (name: string) => join(folder, name);
  shell(
    folder,
    `openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt
    openssl req -newkey rsa:2048 -nodes -subj /CN=registry.test -keyout server.key -out server.csr
    printf 'subjectAltName=DNS:registry.test' > names
    openssl x509 -req -days 2 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -out server.crt`,
  );
  const { username, password, refreshToken } = captain;
  // By bcrypt.
  const hashed = shell(folder, `perl -e 'print crypt("${password}", "\\$2y\\$05\\$abcdefghijklmnopqrstuu")'`);
  writeFileSync(at('htpasswd'), `${username}:${hashed}\n`);
  const tokens = stack.use(
    await TokenServer.start({ certificate: at('ca.crt'), key: at('ca.key'), username, password, refreshToken }),
  );
  const start = async (name: string, options: Omit<Parameters<typeof DebianRegistry.start>[0], 'folder'> = {}) =>
    stack.use(await DebianRegistry.start({ folder: at(name), ...options }));
  const [plain, secure, basic, token] = await Promise.all([
    start('plain'),
    start('secure', { tls: { certificate: at('server.crt'), key: at('server.key') } }),
    start('basic', { auth: `auth: {htpasswd: {realm: test, path: ${at('htpasswd')}}}` }),
    start('token', {
      auth: `auth: {token: {realm: "${tokens.url}", service: ${tokenService}, issuer: ${tokenIssuer}, rootcertbundle: ${at('ca.crt')}}}`,
    }),
  ]);
  return { plain, secure, basic, token, tokens };
}
