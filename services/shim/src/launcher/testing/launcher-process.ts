import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { bindUnix, closeFd, isErrno, listen, pidfdOpen, pidfdSendSignal, SIGKILL, unixSocket } from '@flotilla/linux';
import { LauncherReply, LauncherRequest, type LauncherStateReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { encodeFrame, findFrame } from '../frame.ts';

const flags = ['--single-threaded', '--v8-pool-size=0'];
const entry = fileURLToPath(new URL('./test-launcher.ts', import.meta.url));

/** What a shim of the tests writes down when it serves. */
export interface Seen {
  readonly pid: number;
  /** All that it had open at its start. */
  readonly fds: readonly string[];
  /** What it was given, by name. */
  readonly kept: Readonly<Record<string, string>>;
  /** What it wants to have kept. */
  readonly held: readonly string[];
  readonly requestId: string;
  readonly forkMode: string;
  readonly adopt: boolean;
  readonly replaces: number;
}

/** A launcher with folders of its own, started as the keeper starts it. */
export class LauncherProcess implements AsyncDisposable {
  readonly run: string = mkdtempSync('/tmp/fl-launcher-');
  readonly socketPath: string = join(this.run, 'launcher.sock');
  readonly #logFd: number = openSync(join(this.run, 'log'), 'a');
  readonly #listenFd: number;
  #child: ChildProcess | undefined;

  constructor() {
    this.#listenFd = unixSocket();
    bindUnix(this.#listenFd, this.socketPath);
    listen(this.#listenFd, 64);
  }

  /** All that it has written. */
  get log(): string {
    return readFileSync(join(this.run, 'log'), 'utf8');
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** `stored`: what an earlier launcher has left, by name. */
  async start(env: NodeJS.ProcessEnv = {}, stored: ReadonlyMap<string, number> = new Map()): Promise<void> {
    const readies = this.said('ready');
    this.begin(env, stored);
    await this.waitUntil(() => this.said('ready') > readies, 'the launcher is ready');
  }

  /** How often it has logged that. */
  said(message: string): number {
    return this.log.split(`"msg":"${message}"`).length - 1;
  }

  /** Starts one, which takes the place of an earlier one here but does not end it. */
  begin(env: NodeJS.ProcessEnv, stored: ReadonlyMap<string, number>): ChildProcess {
    const command = 'LISTEN_PID=$$ exec "$@"';
    const passed = { LISTEN_FDS: String(1 + stored.size), LISTEN_FDNAMES: ['launcher', ...stored.keys()].join(':') };
    this.#child = spawn('/bin/sh', ['-c', command, 'sh', process.execPath, ...flags, entry], {
      env: { ...process.env, FLOTILLA_RUN: this.run, FLOTILLA_LOG: 'debug', ...passed, ...env },
      stdio: ['ignore', this.#logFd, this.#logFd, this.#listenFd, ...stored.values()],
    });
    return this.#child;
  }

  /** One request, one reply. */
  async ask(request: LauncherRequest['request']): Promise<NonNullable<LauncherReply['reply']>> {
    const socket = connect(this.socketPath);
    socket.write(encodeFrame(LauncherRequest.encode({ request }).finish()));
    const parts: Buffer[] = [];
    for await (const part of socket) parts.push(part);
    return LauncherReply.decode(findFrame(Buffer.concat(parts), 1 << 20)!).reply!;
  }

  /** A bundle's folder whose shim behaves like that. */
  makeShimDir(containerId: string, behaviour: string): string {
    const shimDir = join(this.run, 'shims', containerId);
    mkdirSync(join(shimDir, 'state'), { recursive: true });
    writeFileSync(join(shimDir, 'behaviour'), behaviour);
    const task = { containerId, run: '1', stateDir: join(shimDir, 'state'), cgroupParent: '/fl-none' };
    writeFileSync(join(shimDir, 'task.json'), JSON.stringify(task));
    return shimDir;
  }

  launch(containerId: string, run = 1n): Promise<NonNullable<LauncherReply['reply']>> {
    const shimDir = join(this.run, 'shims', containerId);
    return this.ask({ $case: 'launch', value: { containerId, run, shimDir, requestId: 'r1' } });
  }

  /** What the last shim of a container saw. */
  seen(containerId: string): Seen {
    return JSON.parse(readFileSync(join(this.run, 'shims', containerId, 'seen.json'), 'utf8'));
  }

  /** How the launcher says it is. */
  async state(): Promise<LauncherStateReply> {
    const reply = await this.ask({ $case: 'state', value: {} });
    if (reply.$case !== 'state') throw new Error(`the launcher answered ${reply.$case}`);
    return reply.value;
  }

  /** Has the shims of a container behave like that from now on, or gives the one that serves something to do. */
  write(containerId: string, file: 'behaviour' | 'type', content: string): void {
    const path = join(this.run, 'shims', containerId, file);
    writeFileSync(`${path}.new`, content);
    renameSync(`${path}.new`, path);
  }

  /** How many descriptors the launcher has open. */
  openFds(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** Looks again and again, for a minute: the machine may be busy. */
  async waitUntil(isSo: () => boolean, what: string): Promise<void> {
    for (const deadline = performance.now() + 60_000; performance.now() < deadline; ) {
      if (isSo()) return;
      await sleep(20);
    }
    throw new Error(`not seen in time: ${what}\n${this.log}`);
  }

  /** Ends it with a signal and answers its exit code. */
  async stop(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child!;
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await once(child, 'exit');
    }
    return child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== undefined) await this.stop('SIGKILL');
    // A rehearsal whose launcher has gone takes its container down before it leaves.
    const isRehearsing = () =>
      pidsOf(this.run).some(
        (pid) => ifThere(() => readFileSync(`/proc/${pid}/comm`, 'latin1')) === 'flotilla-warmup\n',
      );
    for (let i = 0; i < 500 && isRehearsing(); i++) await sleep(10);
    closeFd(this.#listenFd);
    closeFd(this.#logFd);
    killAllOf(this.run);
    rmSync(this.run, { recursive: true });
  }
}

/**
 * Kills what was started for a launcher, shims and containers: they have its folder, whose name is theirs alone, in their
 * environment. The pidfd first: what is killed is what was looked at.
 */
function killAllOf(run: string): void {
  for (const pid of pidsOf(run)) {
    ifThere(() => {
      const pidfd = pidfdOpen(pid);
      const isIt = isOf(run, pid);
      if (isIt) pidfdSendSignal(pidfd, SIGKILL);
      closeFd(pidfd);
    });
  }
}

function pidsOf(run: string): readonly number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && ifThere(() => isOf(run, pid)) === true);
}

function isOf(run: string, pid: number): boolean {
  return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`FLOTILLA_RUN=${run}`);
}

function ifThere<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EINVAL', 'EACCES')) return undefined;
    throw error;
  }
}
