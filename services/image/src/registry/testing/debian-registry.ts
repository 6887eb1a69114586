import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@flotilla/testing';

export interface DebianRegistryOptions {
  /** A folder of its own. */
  readonly folder: string;
  /** Parts of its configuration, as YAML: `auth`, `http.tls`. */
  readonly auth?: string;
  readonly tls?: { readonly certificate: string; readonly key: string };
}

/** Debian's docker-registry in a process of its own. */
export class DebianRegistry implements AsyncDisposable {
  readonly port: number;
  readonly #process: ChildProcess;
  readonly #log: string;

  private constructor(port: number, process: ChildProcess, log: string) {
    this.port = port;
    this.#process = process;
    this.#log = log;
  }

  static async start({ folder, auth = '', tls }: DebianRegistryOptions): Promise<DebianRegistry> {
    mkdirSync(folder, { recursive: true });
    const port = await freePort();
    const config = [
      'version: 0.1',
      'log: {level: error}',
      `storage: {filesystem: {rootdirectory: ${join(folder, 'data')}}}`,
      auth,
      'http:',
      `  addr: 127.0.0.1:${port}`,
      '  secret: of-this-test',
      tls === undefined ? '' : `  tls: {certificate: ${tls.certificate}, key: ${tls.key}}`,
    ];
    writeFileSync(join(folder, 'config.yml'), config.join('\n'));
    const log = join(folder, 'log');
    const fd = openSync(log, 'w');
    const child = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: ['ignore', fd, fd] });
    const registry = new DebianRegistry(port, child, log);
    try {
      await registry.#ready(tls !== undefined);
    } catch (error) {
      await registry[Symbol.asyncDispose]();
      throw error;
    }
    return registry;
  }

  /** `127.0.0.1:port`. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  async #ready(tls: boolean): Promise<void> {
    for (let tries = 0; tries < 400; tries++) {
      if (this.#process.exitCode !== null) throw new Error(`docker-registry: ${readFileSync(this.#log, 'utf8')}`);
      // A plain request to a TLS port is answered, too: with 400.
      const answer = await fetch(`http://${this.host}/v2/`).catch(() => undefined);
      if (answer !== undefined && (answer.status !== 400 || tls)) return;
      await sleep(50);
    }
    throw new Error('docker-registry does not answer');
  }

  /** How often it was asked for each blob, by its own access log: those of `skopeo` are left out. */
  blobRequests(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const line of readFileSync(this.#log, 'utf8').split('\n')) {
      const digest = /"GET \/v2\/.*\/blobs\/(sha256:[0-9a-f]{64}) .*"flotilla"/.exec(line)?.[1];
      if (digest !== undefined) counts.set(digest, (counts.get(digest) ?? 0) + 1);
    }
    return counts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await ended;
  }
}
