import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../harness/free-port.ts';
import { captain, htpasswd } from '../harness/registry.ts';
import { mustRun } from '../harness/run-program.ts';
import { waitFor } from '../harness/wait.ts';
import { TokenServer, tokenIssuer, tokenService } from './token-server.ts';

/** The ways in which Debian's docker-registry is met. */
export const registryKinds = ['plain', 'tls', 'basic', 'token'] as const;
export type RegistryKind = (typeof registryKinds)[number];

/** The name that the certificate is for; see `own-names.ts`. */
export const tlsName = 'registry.test';

/** A registry in a process of its own. */
export class MatrixRegistry implements AsyncDisposable {
  /** As references name it. */
  readonly host: string;
  readonly #process: ChildProcess;

  private constructor(host: string, process: ChildProcess) {
    this.host = host;
    this.#process = process;
  }

  static async start(kind: RegistryKind, folder: string, authority: Authority): Promise<MatrixRegistry> {
    mkdirSync(folder, { recursive: true });
    const port = await freePort();
    // Docker trusts whatever answers on 127.0.0.0/8; on ::1 it wants a certificate that it can verify.
    const address = kind === 'tls' ? '[::1]' : '127.0.0.1';
    const file = join(folder, 'htpasswd');
    writeFileSync(file, `${htpasswd}\n`);
    const { certificate, tokens, serverCertificate, serverKey } = authority;
    const auth = {
      plain: '',
      tls: '',
      basic: `auth: {htpasswd: {realm: matrix, path: ${file}}}`,
      token: `auth: {token: {realm: "${tokens.url}", service: ${tokenService}, issuer: ${tokenIssuer}, rootcertbundle: ${certificate}}}`,
    }[kind];
    const config = [
      'version: 0.1',
      'log: {level: error, accesslog: {disabled: true}}',
      `storage: {filesystem: {rootdirectory: ${join(folder, 'data')}}}`,
      auth,
      'http:',
      `  addr: "${address}:${port}"`,
      '  secret: of-the-matrix',
      kind === 'tls' ? `  tls: {certificate: ${serverCertificate}, key: ${serverKey}}` : '',
    ];
    writeFileSync(join(folder, 'config.yml'), config.join('\n'));
    const log = join(folder, 'log');
    const fd = openSync(log, 'w');
    const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: ['ignore', fd, fd] });
    await using stack = new AsyncDisposableStack();
    const registry = stack.use(new MatrixRegistry(`${kind === 'tls' ? tlsName : '127.0.0.1'}:${port}`, child));
    await waitFor('the registry listens', () => {
      if (child.exitCode !== null) throw new Error(`docker-registry: ${readFileSync(log, 'utf8')}`);
      return listens(port, kind === 'tls' ? '::1' : '127.0.0.1');
    });
    stack.move();
    return registry;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }
}

async function listens(port: number, host: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ port, host });
  socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
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
export function writeLogins(folder: string, registries: readonly MatrixRegistry[]): void {
  const auth = Buffer.from(`${captain.username}:${captain.password}`).toString('base64');
  const auths = Object.fromEntries(registries.map(({ host }) => [host, { auth }]));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ auths }));
}
