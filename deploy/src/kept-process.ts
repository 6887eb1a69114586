import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@flotilla/log';
import { findLivePid, isAlive, removeFile, replaceFile } from './instance-files.ts';

/** How a process is started. */
export interface ProcessPlan {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Descriptor of the file for stdout and stderr. */
  readonly logFd: number;
  /** Listening socket handed over as descriptor 3, absent for those that open their own. */
  readonly socketFd?: number;
  readonly pidFile: string;
}

const pollMs = 200;
const longestPauseMs = 5_000;
/** A process that lived so long has earned an immediate restart. */
const settledMs = 2_000;

/**
 * Keeps one process alive: starts it, waits for its end, starts it again. At once when it had lived for a while, else
 * after a pause that doubles, so that a service that cannot start does not burn a core. A process that runs already (of
 * an earlier keeper) is left alone and watched.
 */
export class KeptProcess {
  readonly name: string;
  readonly #plan: ProcessPlan;
  readonly #log: Logger;
  #stopping = false;
  #pid: number | undefined;
  #loop: Promise<void> | undefined;

  constructor(plan: ProcessPlan, log: Logger) {
    this.name = plan.name;
    this.#plan = plan;
    this.#log = log;
  }

  start(): void {
    this.#loop ??= this.#keep();
  }

  /** Asks it to end, then insists. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    const pid = this.#pid ?? findLivePid(this.#plan.pidFile);
    if (pid !== undefined) {
      signal(pid, 'SIGTERM');
      const deadline = Date.now() + graceMs;
      while (isAlive(pid) && Date.now() < deadline) await sleep(20);
      if (isAlive(pid)) {
        this.#log.warn({ process: this.name, childPid: pid, graceMs }, 'process did not end in time, killed');
        signal(pid, 'SIGKILL');
      }
    }
    await this.#loop;
    removeFile(this.#plan.pidFile);
  }

  async #keep(): Promise<void> {
    let pauseMs = 0;
    while (!this.#stopping) {
      const startedAt = Date.now();
      const adopted = findLivePid(this.#plan.pidFile);
      const how = adopted === undefined ? await this.#runOnce() : await this.#watch(adopted);
      if (this.#stopping) return;
      pauseMs = Date.now() - startedAt > settledMs ? 0 : Math.min(Math.max(pauseMs * 2, 50), longestPauseMs);
      this.#log.warn({ process: this.name, ...how, pauseMs }, 'process ended, starting it again');
      if (pauseMs > 0) await sleep(pauseMs);
    }
  }

  async #runOnce(): Promise<object> {
    const { command, args, env, logFd, socketFd, pidFile } = this.#plan;
    const { promise, resolve } = Promise.withResolvers<object>();
    // systemd's protocol wants the process's own id in LISTEN_PID: only the shell that becomes the process knows it.
    const child: ChildProcess = spawn(
      '/bin/sh',
      ['-c', 'LISTEN_PID=$$; export LISTEN_PID; exec "$@"', 'sh', command, ...args],
      {
        cwd: '/',
        env: { ...env, ...(socketFd === undefined ? {} : { LISTEN_FDS: '1', LISTEN_FDNAMES: this.name }) },
        stdio: ['ignore', logFd, logFd, ...(socketFd === undefined ? [] : [socketFd])],
        detached: true,
      },
    );
    child.once('error', (err) => resolve({ err }));
    child.once('exit', (exitCode, exitSignal) => resolve({ exitCode, exitSignal }));
    if (child.pid !== undefined) {
      this.#pid = child.pid;
      replaceFile(pidFile, `${child.pid}\n`);
      this.#log.info({ process: this.name, childPid: child.pid }, 'process started');
    }
    const how = await promise;
    this.#pid = undefined;
    return how;
  }

  /** Not our child, so there is no exit to wait for: looks again and again. */
  async #watch(pid: number): Promise<object> {
    this.#pid = pid;
    this.#log.info({ process: this.name, childPid: pid }, 'process of an earlier keeper adopted');
    while (isAlive(pid)) await sleep(pollMs);
    this.#pid = undefined;
    return { childPid: pid };
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
