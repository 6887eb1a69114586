import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '@flotilla/log';
import type { InstanceFiles } from './instance-files.ts';
import { findRecordedProcess, forgetProcess, recordAndExecute, type SeenProcess, seeChild } from './process-record.ts';

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
  /** Done before each start. */
  readonly prepare?: () => Promise<void>;
}

const pollMs = 200;
const shortestPauseMs = 50;
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
  readonly #files: InstanceFiles;
  readonly #log: Logger;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;
  #childPid: number | undefined;

  constructor(plan: ProcessPlan, files: InstanceFiles, log: Logger) {
    this.name = plan.name;
    this.#plan = plan;
    this.#files = files;
    this.#log = log;
  }

  /** Process id of the child of this process, if it is one and has not been reaped. */
  get childPid(): number | undefined {
    return this.#childPid;
  }

  start(): void {
    this.#loop ??= this.#keep();
  }

  /** Asks it to end, then insists. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    const running = findRecordedProcess(this.#files, this.name);
    if (running !== undefined && !(await endProcess(running, graceMs))) {
      this.#log.warn({ process: this.name, childPid: running.pid, graceMs }, 'process did not end in time, killed');
    }
    await this.#loop;
    forgetProcess(this.#files, this.name);
  }

  async #keep(): Promise<void> {
    let pauseMs = 0;
    while (!this.#stopping.signal.aborted) {
      const startedAt = Date.now();
      const adopted = findRecordedProcess(this.#files, this.name);
      const how = adopted === undefined ? await this.#runOnce() : await this.#watch(adopted);
      if (this.#stopping.signal.aborted) return;
      pauseMs =
        Date.now() - startedAt > settledMs ? 0 : Math.min(Math.max(pauseMs * 2, shortestPauseMs), longestPauseMs);
      this.#log.warn({ process: this.name, ...how, pauseMs }, 'process ended, starting it again');
      await sleep(pauseMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  async #runOnce(): Promise<object> {
    const { command, args, env, logFd, socketFd, prepare } = this.#plan;
    try {
      await prepare?.();
    } catch (err) {
      return { err };
    }
    const { promise, resolve } = Promise.withResolvers<object>();
    const files = [this.#files.pidFile(this.name), this.#files.startFile(this.name)];
    const child = spawn('/bin/sh', ['-c', recordAndExecute, 'sh', ...files, command, ...args], {
      cwd: '/',
      env: { ...env, ...(socketFd === undefined ? {} : { LISTEN_FDS: '1', LISTEN_FDNAMES: this.name }) },
      stdio: ['ignore', logFd, logFd, ...(socketFd === undefined ? [] : [socketFd])],
      detached: true,
    });
    child.once('error', (err) => resolve({ err }));
    child.once('exit', (exitCode, exitSignal) => resolve({ exitCode, exitSignal }));
    this.#childPid = child.pid;
    if (child.pid !== undefined) {
      this.#log.info({ process: this.name, childPid: child.pid }, 'process started');
      // A stop that came before the record was written did not find it.
      if (this.#stopping.signal.aborted) await endProcess(seeChild(child.pid), 1_000);
    }
    const how = await promise;
    this.#childPid = undefined;
    return how;
  }

  /** Not our child, so there is no exit to wait for: looks again and again. */
  async #watch(adopted: SeenProcess): Promise<object> {
    this.#log.info({ process: this.name, childPid: adopted.pid }, 'process of an earlier keeper adopted');
    while (adopted.isAlive()) await sleep(pollMs);
    return { childPid: adopted.pid };
  }
}

/** Sends SIGTERM, waits, sends SIGKILL, waits; whether the first was enough. */
export async function endProcess(running: SeenProcess, graceMs: number): Promise<boolean> {
  running.signal('SIGTERM');
  const deadline = Date.now() + graceMs;
  while (running.isAlive()) {
    if (Date.now() > deadline) {
      running.signal('SIGKILL');
      while (running.isAlive()) await sleep(10);
      return false;
    }
    await sleep(10);
  }
  return true;
}
