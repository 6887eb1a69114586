import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { mustRun } from './run-program.ts';
import { makeTestFolders } from './test-folders.ts';
import { waitFor } from './wait.ts';

/** Who may use the registries of these tests. */
export const captain = { username: 'captain', password: 'aye aye' } as const;
/** By bcrypt, of that password: docker-registry takes no other kind. */
export const htpasswd = 'captain:$2y$05$abcdefghijklmnopqrstuu9rJO8jeBBOh1z8FciO6VCHo/X5LsHGu';

/** Debian's docker-registry on loopback, which wants a password unless it is anonymous. */
export class Registry implements AsyncDisposable {
  readonly host: string;
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(port: number, folder: string, anonymous: boolean) {
    this.host = `127.0.0.1:${port}`;
    this.#folder = folder;
    const config = [
      'version: 0.1',
      'log: {level: error, accesslog: {disabled: true}}',
      `storage: {filesystem: {rootdirectory: ${join(folder, 'data')}}}`,
      ...(anonymous ? [] : [`auth: {htpasswd: {realm: test, path: ${join(folder, 'htpasswd')}}}`]),
      `http: {addr: "${this.host}"}`,
    ];
    writeFileSync(join(folder, 'htpasswd'), `${htpasswd}\n`);
    writeFileSync(join(folder, 'config.yml'), config.join('\n'));
    this.#process = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
  }

  static async start({ anonymous = false }: { readonly anonymous?: boolean } = {}): Promise<Registry> {
    const registry = new Registry(await freePort(), makeTestFolders().folder, anonymous);
    await waitFor('the registry answers', async () => {
      const answer = await fetch(`http://${registry.host}/v2/`).catch(() => undefined);
      return answer?.status === (anonymous ? 200 : 401);
    });
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
