import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { loadPaths, type Paths, socketPath } from '@flotilla/config';
import { streamEvents } from '@flotilla/events';
import { bindUnix, closeFd, listen, unixSocket } from '@flotilla/linux';
import { SupervisorServiceService } from '@flotilla/proto/flotilla/supervisor/v1/supervisor';
import { ContainerServiceService } from '@flotilla/proto/flotilla/v1/container';
import type { Event } from '@flotilla/proto/flotilla/v1/event';
import { ExecServiceService } from '@flotilla/proto/flotilla/v1/exec';
import { ImageServiceService, type ImportImageRequest } from '@flotilla/proto/flotilla/v1/image';
import { connect } from '@flotilla/rpc';
import { freePort } from '@flotilla/testing';

const services = fileURLToPath(new URL('../../..', import.meta.url));
const chunkBytes = 1 << 20;

type Name = 'image' | 'network' | 'launcher' | 'supervisor';

const programs: Readonly<Record<Name, { readonly main: string; readonly flags: readonly string[] }>> = {
  image: { main: 'image/src/main.ts', flags: [] },
  network: { main: 'network/src/main.ts', flags: [] },
  launcher: { main: 'shim/src/launcher.ts', flags: ['--single-threaded', '--v8-pool-size=0'] },
  supervisor: { main: 'supervisor/src/main.ts', flags: [] },
};

/**
 * The services behind the api, real ones, with NATS, in folders of their own. Listening sockets are the rig's, as they are
 * the keeper's, so that a service that is killed refuses nobody.
 */
export class TestEngine implements AsyncDisposable {
  readonly folder: string = mkdtempSync('/tmp/fl-sup-');
  readonly paths: Paths;
  readonly containers;
  readonly execs;
  readonly supervisor;
  readonly #env: NodeJS.ProcessEnv;
  readonly #sockets = new Map<Name, number>();
  readonly #children = new Map<Name | 'nats', ChildProcess>();
  readonly #images;
  #natsUrl = '';

  constructor() {
    const [root, run] = [join(this.folder, 'root'), join(this.folder, 'run')];
    for (const path of [root, run]) mkdirSync(path, { mode: 0o700 });
    // As the keeper has it: restarts are what is tested, not the stripping of types.
    const cache = join(this.folder, 'cache');
    this.#env = {
      NODE_COMPILE_CACHE: cache,
      ...process.env,
      FLOTILLA_ROOT: root,
      FLOTILLA_RUN: run,
      FLOTILLA_LOG: process.env.FLOTILLA_LOG ?? 'debug',
      FLOTILLA_NATS_URL: '',
    };
    this.paths = loadPaths(this.#env);
    const address = (name: 'supervisor' | 'image') => `unix://${socketPath(this.paths, name)}`;
    const options = { address: address('supervisor'), name: 'supervisor', deadlineMs: 20_000 };
    this.containers = connect(ContainerServiceService, options);
    this.execs = connect(ExecServiceService, options);
    this.supervisor = connect(SupervisorServiceService, options);
    this.#images = connect(ImageServiceService, { address: address('image'), name: 'image', deadlineMs: 20_000 });
  }

  /** Starts everything, and imports busybox. */
  async start(): Promise<void> {
    await this.startNats();
    for (const name of Object.keys(programs) as Name[]) {
      const fd = unixSocket();
      bindUnix(fd, socketPath(this.paths, name));
      listen(fd, 511);
      this.#sockets.set(name, fd);
      this.startService(name);
    }
    await this.#importBusybox();
  }

  async startNats(): Promise<void> {
    const port = this.#natsUrl === '' ? await freePort() : Number(new URL(this.#natsUrl).port);
    this.#natsUrl = `nats://127.0.0.1:${port}`;
    writeFileSync(join(this.paths.run, 'nats.url'), this.#natsUrl);
    const store = join(this.paths.root, 'nats');
    const args = ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', store];
    this.#children.set('nats', spawn('nats-server', args, { stdio: 'ignore' }));
  }

  startService(name: Name): void {
    const { main, flags } = programs[name];
    const log = openSync(this.logFile(name), 'a');
    const command = ['sh', process.execPath, ...flags, join(services, main)];
    const child = spawn('/bin/sh', ['-c', 'LISTEN_PID=$$ exec "$@"', ...command], {
      env: { ...this.#env, LISTEN_FDS: '1' },
      stdio: ['ignore', log, log, this.#sockets.get(name)!],
    });
    closeFd(log);
    this.#children.set(name, child);
  }

  /** SIGKILL; answers when it is gone. */
  async kill(name: Name | 'nats'): Promise<void> {
    const child = this.#children.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  logFile(name: Name): string {
    return join(this.folder, `${name}.log`);
  }

  /** Everything announced about a container so far, oldest first. */
  async eventsOf(containerId: string): Promise<Event[]> {
    const found: Event[] = [];
    const request = { afterSequence: 0n, sinceUnixNano: 1n, untilUnixNano: BigInt(Date.now()) * 1_000_000n };
    const filters = { types: ['container'], actions: [], actors: [containerId], labels: [] };
    const signal = AbortSignal.timeout(10_000);
    const options = { natsUrl: () => this.#natsUrl, request: { ...request, ...filters }, signal };
    for await (const { event } of streamEvents(options)) if (event !== undefined) found.push(event);
    return found;
  }

  /** Asks until it is so; fails with what it was. */
  async until<T>(what: string, ask: () => Promise<T>, holds: (value: T) => boolean, withinMs = 10_000): Promise<T> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const value = await ask();
      if (holds(value)) return value;
      if (performance.now() > deadline) throw new Error(`${what}: still ${describe(value)}`);
      await sleep(20);
    }
  }

  async #importBusybox(): Promise<void> {
    const root = join(this.folder, 'busybox');
    for (const name of ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp'])
      mkdirSync(join(root, name), { recursive: true });
    copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
    const commands = [
      'sh',
      'cat',
      'echo',
      'sleep',
      'true',
      'false',
      'id',
      'env',
      'kill',
      'hostname',
      'dd',
      'tail',
      'ls',
      'nc',
    ];
    for (const command of commands) symlinkSync('busybox', join(root, 'bin', command));
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\nwww:x:33:33::/tmp:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\nwww:x:33:\ndisk:x:6:www\n');
    writeFileSync(join(root, 'etc/notes'), 'not executable', { mode: 0o644 });
    const tar = execFileSync('tar', ['-C', root, '-cf', '-', '.'], { maxBuffer: 64 << 20 });
    for await (const _ of this.#images.importImage(importRequests(tar)));
  }

  /** Removes every container, stops every process of this rig, removes its folders. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const name of Object.keys(programs) as Name[]) {
        const child = this.#children.get(name);
        if (child !== undefined && (child.exitCode !== null || child.signalCode !== null)) this.startService(name);
      }
      const { containers } = await this.containers.listContainers({ ...noFilter, all: true });
      for (const { containerId: container } of containers) {
        await this.containers.removeContainer({ container, force: true, removeVolumes: true });
      }
    } finally {
      for (const client of [this.containers, this.execs, this.supervisor, this.#images]) client[Symbol.dispose]();
      for (const name of ['supervisor', 'network', 'image', 'launcher', 'nats'] as const) await this.#stop(name);
      for (const fd of this.#sockets.values()) closeFd(fd);
      removeCgroups(this.paths.instance);
      if (process.env.FLOTILLA_KEEP_LOGS === undefined) rmSync(this.folder, { recursive: true, force: true });
    }
  }

  async #stop(name: Name | 'nats'): Promise<void> {
    const child = this.#children.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 8_000);
    await once(child, 'exit');
    clearTimeout(late);
  }

  /** The end of a service's log, for messages of failed tests. */
  tail(name: Name): string {
    return readFileSync(this.logFile(name), 'utf8').split('\n').slice(-20).join('\n');
  }
}

/** The group above those of the containers, in every hierarchy. */
function removeCgroups(instance: string): void {
  for (const hierarchy of ['', ...readdirSync('/sys/fs/cgroup')]) {
    const group = join('/sys/fs/cgroup', hierarchy, instance);
    if (existsSync(group)) rmdirSync(group);
  }
}

/** A list request without filters. */
export const noFilter = {
  all: false,
  limit: 0,
  names: [],
  containerIds: [],
  labels: [],
  states: [],
  images: [],
  restarting: false,
  health: [],
};

async function* importRequests(tar: Buffer): AsyncGenerator<ImportImageRequest> {
  const options = { reference: 'busybox', config: undefined, message: '', platform: '' };
  yield { part: { $case: 'options', value: options } };
  for (let at = 0; at < tar.length; at += chunkBytes) {
    yield { part: { $case: 'chunk', value: tar.subarray(at, at + chunkBytes) } };
  }
}

function describe(value: unknown): string {
  return (
    JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part))?.slice(0, 500) ?? ''
  );
}
