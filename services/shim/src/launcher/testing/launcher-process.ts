import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { bindUnix, closeFd, findProcess, isErrno, listen, unixSocket } from '@flotilla/linux';
import { LauncherReply, LauncherRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { encodeFrame, findFrame } from '../frame.ts';

const flags = ['--single-threaded', '--v8-pool-size=0'];
const entry = fileURLToPath(new URL('./test-launcher.ts', import.meta.url));

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

  async start(env: NodeJS.ProcessEnv = {}): Promise<void> {
    const command = 'LISTEN_PID=$$ exec "$@"';
    this.#child = spawn('/bin/sh', ['-c', command, 'sh', process.execPath, ...flags, entry], {
      env: { ...process.env, FLOTILLA_RUN: this.run, FLOTILLA_LOG: 'debug', LISTEN_FDS: '1', ...env },
      stdio: ['ignore', this.#logFd, this.#logFd, this.#listenFd],
    });
    const readies = (this.log.match(/"msg":"ready"/g) ?? []).length;
    await this.waitUntil(() => (this.log.match(/"msg":"ready"/g) ?? []).length > readies, 'the launcher is ready');
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

  seen(containerId: string): { fds: string[]; requestId: string; forkMode: string } {
    return JSON.parse(readFileSync(join(this.run, 'shims', containerId, 'seen.json'), 'utf8'));
  }

  /** Looks again and again, for ten seconds. */
  async waitUntil(isSo: () => boolean, what: string): Promise<void> {
    for (let i = 0; i < 500; i++) {
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
    closeFd(this.#listenFd);
    closeFd(this.#logFd);
    for (const pid of this.#madePids()) killIfThere(pid);
    rmSync(this.run, { recursive: true });
  }

  #madePids(): number[] {
    const pids = this.log.matchAll(/"(?:shimPid|initPid|templatePid)":(\d+)/g);
    return [...new Set([...pids].map(([, pid]) => Number(pid)))];
  }
}

/** Only what looks like one of ours: a pid may have been used again. */
function killIfThere(pid: number): void {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    if (findProcess(pid) !== undefined && /sleep|test-launcher|test-shim/.test(command)) process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ESRCH')) throw error;
  }
}
