import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { mustRun } from './run-program.ts';
import { makeTestFolders } from './test-folders.ts';
import { waitFor } from './wait.ts';

/** Who may use the registries of these tests. */
export const captain = { username: 'captain', password: 'aye aye' } as const;
/** By bcrypt, of that password: docker-registry takes no other kind. */
const htpasswd = 'captain:$2y$05$abcdefghijklmnopqrstuu9rJO8jeBBOh1z8FciO6VCHo/X5LsHGu';

/** How a registry is met: with a password when nothing is said. */
export interface RegistryOptions {
  readonly auth?: 'password' | 'nobody' | TokenAuth;
  readonly tls?: Certified;
}

/** Docker-registry's settings of those names. */
export interface TokenAuth {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  readonly rootcertbundle: string;
}

/** The files of a certificate for a name. */
export interface Certified {
  readonly name: string;
  readonly certificate: string;
  readonly key: string;
}

/** Debian's docker-registry on loopback. */
export class Registry implements AsyncDisposable {
  /** As references name it. */
  readonly host: string;
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(port: number, folder: string, { auth = 'password', tls }: RegistryOptions) {
    this.host = `${tls?.name ?? '127.0.0.1'}:${port}`;
    this.#folder = folder;
    const at = (name: string) => join(folder, name);
    // JSON is YAML, too.
    const config = {
      version: 0.1,
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: at('data') } },
      ...(auth === 'nobody' ? {} : { auth: authOf(auth, at('htpasswd')) }),
      http: {
        addr: `${tls === undefined ? '127.0.0.1' : '[::1]'}:${port}`,
        ...(tls === undefined ? {} : { tls: { certificate: tls.certificate, key: tls.key } }),
      },
    };
    writeFileSync(at('htpasswd'), `${htpasswd}\n`);
    writeFileSync(at('config.yml'), JSON.stringify(config));
    const log = openSync(at('log'), 'w');
    this.#process = spawn('docker-registry', ['serve', at('config.yml')], { stdio: ['ignore', log, log] });
    closeSync(log);
  }

  static async start(options: RegistryOptions = {}): Promise<Registry> {
    const { folder } = makeTestFolders();
    const port = await freePort();
    await using stack = new AsyncDisposableStack();
    const registry = stack.use(new Registry(port, folder, options));
    await waitFor('the registry listens', () => {
      if (registry.#process.exitCode !== null) throw new Error(readFileSync(join(folder, 'log'), 'utf8'));
      return listens(port, options.tls === undefined ? '127.0.0.1' : '::1');
    });
    stack.move();
    return registry;
  }

  /** Puts the image of a docker-archive there. */
  async push(archive: Buffer, name: string): Promise<void> {
    const file = join(this.#folder, 'image.tar');
    writeFileSync(file, archive);
    const creds = `${captain.username}:${captain.password}`;
    const flags = ['-q', '--insecure-policy', '--dest-tls-verify=false', '--dest-creds', creds];
    await mustRun('skopeo', ['copy', ...flags, `docker-archive:${file}`, `docker://${this.host}/${name}`]);
  }

  /** Stops it in the middle of whatever it does, until `resume`. */
  pause(): void {
    this.#process.kill('SIGSTOP');
  }

  resume(): void {
    this.#process.kill('SIGCONT');
  }

  /** How many connections to it there are: proc_net_tcp(5), state 01. */
  connections(): number {
    const port = Number(this.host.split(':')[1]).toString(16).toUpperCase().padStart(4, '0');
    const lines = readFileSync('/proc/net/tcp', 'utf8').split('\n');
    return lines.filter((line) => new RegExp(`^ *\\d+: \\S+ [0-9A-F]{8}:${port} 01 `).test(line)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    if (this.#process.exitCode === null && this.#process.kill('SIGKILL')) await ended;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function authOf(auth: 'password' | TokenAuth, htpasswdFile: string): object {
  return auth === 'password' ? { htpasswd: { realm: 'test', path: htpasswdFile } } : { token: auth };
}

async function listens(port: number, host: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ port, host });
  socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  return promise.finally(() => socket.destroy());
}
