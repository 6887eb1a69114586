import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { closeFd } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import { FdStore } from './fd-store.ts';
import type { InstanceFiles } from './instance-files.ts';
import type { Notice } from './notify-server.ts';
import { endProcess, findRecordedProcess, forgetProcess, promoteRecord } from './process-record.ts';
import type { Release } from './release.ts';
import { type Ended, RunningProcess } from './running-process.ts';
import { Standby } from './standby.ts';

/** How a process is started. */
export interface ProcessPlan {
  readonly name: string;
  /** Its command line in a release. */
  command(release: Release): { readonly command: string; readonly args: readonly string[] };
  /** Root folder of the release of a process that runs already; undefined when it cannot be told. */
  releaseOf?(pid: number): Release | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** Descriptor of the file for stdout and stderr. */
  readonly logFd: number;
  /** Listening socket handed over as descriptor 3, absent for those that open their own. */
  readonly socketFd?: number;
  /** Done before each start. */
  readonly prepare?: () => Promise<void>;
  /** Called when it has ended, before it is started again: hears what it said last. */
  readonly drainNotices?: () => void;
}

const shortestPauseMs = 50;
const longestPauseMs = 5_000;
/** A process that lived so long has earned an immediate restart. */
const settledMs = 2_000;
/** SIGKILL is never a process's own doing, and what kills it once in a while is to find it at work. */
const longestPauseAfterKillMs = 200;

interface HowToStart {
  /** Name of its record. */
  readonly record: string;
  readonly standby?: Standby | undefined;
  /** There was one before: somebody may wait for it. */
  readonly isAgain: boolean;
}

interface EndedRun {
  readonly how: Ended;
  readonly wasReady: boolean;
}

/**
 * Keeps one process alive: starts it, waits for its end, starts it again. At once when it had lived for a while or was
 * killed at its work, else after a pause that doubles, so that a service that cannot start does not burn a core. A process that runs already (of
 * an earlier keeper) is left alone and watched. Upgrades put another process in its place (upgrade.ts).
 */
export class KeptProcess {
  readonly name: string;
  readonly plan: ProcessPlan;
  readonly store: FdStore;
  /** What it is started from. */
  release: Release;
  readonly #files: InstanceFiles;
  readonly #log: Logger;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;
  #current: RunningProcess | undefined;
  #candidate: RunningProcess | undefined;
  #standby: Standby | undefined;
  #change: PromiseWithResolvers<RunningProcess | undefined> | undefined;
  #lastWords = '';

  constructor(plan: ProcessPlan, release: Release, files: InstanceFiles, log: Logger, store = new FdStore()) {
    this.name = plan.name;
    this.plan = plan;
    this.release = release;
    this.store = store;
    this.#files = files;
    this.#log = log;
  }

  /** The process that does the work, unless it has ended. */
  get current(): RunningProcess | undefined {
    return this.#current;
  }

  /** The one that is to take its place. */
  get candidate(): RunningProcess | undefined {
    return this.#candidate;
  }

  /** Somebody is replacing it. */
  get isChanging(): boolean {
    return this.#change !== undefined;
  }

  /** What it said of itself, or how the last one ended. */
  get status(): string {
    return this.#current?.status || this.#lastWords;
  }

  start(): void {
    this.#loop ??= this.#keep();
  }

  /** Asks it to end, then insists. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    if (this.#candidate !== undefined) await endProcess(this.#candidate.seen, 0);
    const running = this.#current?.seen ?? findRecordedProcess(this.#files, this.name);
    if (running !== undefined && !(await endProcess(running, graceMs))) {
      this.#log.warn({ process: this.name, childPid: running.pid, graceMs }, 'process did not end in time, killed');
    }
    this.#change?.resolve(undefined);
    await this.#loop;
    forgetProcess(this.#files, this.name);
  }

  /** Takes in what one of its processes says; false when the sender is none of them. */
  hear({ pid, fields, fds }: Notice): boolean {
    const speaker = [this.#current, this.#candidate].find((one) => one?.pid === pid);
    if (speaker === undefined) return false;
    speaker.hear(fields);
    const name = fields.get('FDNAME') ?? 'stored';
    if (fields.get('FDSTORE') === '1') {
      for (const fd of fds) {
        if (!this.store.add(name, fd))
          this.#log.warn({ process: this.name, fdName: name }, 'too many descriptors to keep');
      }
    } else for (const fd of fds) closeFd(fd);
    if (fields.get('FDSTOREREMOVE') === '1' && fields.has('FDNAME')) this.store.remove(name);
    return true;
  }

  /** From now on whoever calls this decides what follows on the process's end. UPGRADE_IN_PROGRESS when somebody does. */
  beginChange(): void {
    if (this.#change !== undefined || this.#stopping.signal.aborted) {
      throw new FlotillaError('failed_precondition', `${this.name} is being replaced already, or stops`, {
        reason: 'UPGRADE_IN_PROGRESS',
        metadata: { process: this.name },
      });
    }
    this.#change = Promise.withResolvers();
  }

  /** Starts a process of a release beside the current one, or after its end. One on standby serves once it has its turn. */
  async startCandidate(release: Release, isOnStandby = false): Promise<RunningProcess> {
    const standby = isOnStandby ? new Standby() : undefined;
    try {
      this.#candidate = await this.#start(release, { record: `${this.name}.next`, standby, isAgain: true });
    } catch (error) {
      standby?.[Symbol.dispose]();
      throw error;
    } finally {
      if (standby !== undefined) closeFd(standby.passedFd);
    }
    this.#standby = standby;
    return this.#candidate;
  }

  /** Gives the candidate its turn, and what is stored. That it has ended shows when its health is asked for. */
  async giveTurn(): Promise<void> {
    try {
      await this.#standby?.give(this.store.all);
    } catch (err) {
      this.#log.warn({ process: this.name, err }, 'process on standby could not be given its turn');
    } finally {
      this.#closeStandby();
    }
  }

  #closeStandby(): void {
    this.#standby?.[Symbol.dispose]();
    this.#standby = undefined;
  }

  /** Ends the candidate. */
  async dropCandidate(): Promise<void> {
    const candidate = this.#candidate;
    if (candidate === undefined) return;
    await endProcess(candidate.seen, 0);
    await candidate.exited;
    this.#closeStandby();
    this.plan.drainNotices?.();
    this.#lastWords = candidate.status || this.#lastWords;
    this.#candidate = undefined;
    forgetProcess(this.#files, `${this.name}.next`);
  }

  /** The candidate is the process from now on, its release the one to start from. */
  promoteCandidate(): void {
    const candidate = this.#candidate;
    if (candidate === undefined) {
      this.endChange();
      return;
    }
    promoteRecord(this.#files, `${this.name}.next`, this.name);
    this.release = candidate.release;
    this.#current = candidate;
    this.#candidate = undefined;
    this.#change?.resolve(candidate);
    this.#change = undefined;
  }

  /** What runs goes on; if nothing does, the release that it had is started again. */
  endChange(): void {
    this.#change?.resolve(undefined);
    this.#change = undefined;
  }

  async #keep(): Promise<void> {
    let pauseMs = 0;
    let next = this.#adopt();
    for (let isAgain = false; !this.#stopping.signal.aborted; isAgain = true) {
      const startedAt = Date.now();
      const ended = await this.#run(next, isAgain);
      if (this.#stopping.signal.aborted) return;
      next = await this.#change?.promise;
      if (next !== undefined || ended === undefined) continue;
      pauseMs = pauseAfter(ended, Date.now() - startedAt, pauseMs);
      this.#log.warn(
        { process: this.name, ...ended.how, status: this.#lastWords, pauseMs },
        'process ended, starting it again',
      );
      await sleep(pauseMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
  }

  /** Runs one to its end, started now unless it is given. Undefined when an upgrade had asked it to end. */
  async #run(given: RunningProcess | undefined, isAgain: boolean): Promise<EndedRun | undefined> {
    let how: Ended;
    try {
      this.#current = given ?? (await this.#start(this.release, { record: this.name, isAgain }));
      // A stop that came before it was there did not find it.
      if (this.#stopping.signal.aborted) await endProcess(this.#current.seen, 1_000);
      how = await this.#current.exited;
    } catch (err) {
      return { how: { err }, wasReady: false };
    }
    this.plan.drainNotices?.();
    const wasReady = this.#current?.isReady === true;
    this.#lastWords = this.#current?.status || `ended: ${JSON.stringify(how)}`;
    this.#current = undefined;
    return this.#change === undefined ? { how, wasReady } : undefined;
  }

  async #start(release: Release, { record, standby, isAgain }: HowToStart): Promise<RunningProcess> {
    const { logFd, socketFd, prepare } = this.plan;
    await prepare?.();
    const { command, args } = this.plan.command(release);
    const stored = standby === undefined ? this.store.all : [{ name: 'standby', fd: standby.passedFd }];
    const passed = socketFd === undefined ? [] : [{ name: this.name, fd: socketFd }, ...stored];
    const env = isAgain ? { ...this.plan.env, FLOTILLA_STARTED_AGAIN: '1' } : this.plan.env;
    const files = [this.#files.pidFile(record), this.#files.startFile(record)] as const;
    const started = RunningProcess.start({ release, command, args, env, logFd, passed, record: files });
    this.#log.info({ process: this.name, childPid: started.pid, releaseDir: release.dir }, 'process started');
    return started;
  }

  /** One that an earlier keeper has left. A candidate of an upgrade that nobody will finish is only in the way. */
  #adopt(): RunningProcess | undefined {
    const waiting = findRecordedProcess(this.#files, `${this.name}.next`);
    const working = findRecordedProcess(this.#files, this.name);
    if (working !== undefined) waiting?.signal('SIGKILL');
    else if (waiting !== undefined) promoteRecord(this.#files, `${this.name}.next`, this.name);
    const seen = working ?? waiting;
    if (seen === undefined) return undefined;
    this.release = this.plan.releaseOf?.(seen.pid) ?? this.release;
    this.#log.info({ process: this.name, childPid: seen.pid }, 'process of an earlier keeper adopted');
    return RunningProcess.adopt(seen, this.release);
  }
}

/** How long to wait before the next start, after a run of `livedMs` that had followed a pause of `pauseMs`. */
function pauseAfter({ how, wasReady }: EndedRun, livedMs: number, pauseMs: number): number {
  const wasKilled = how.exitSignal === 'SIGKILL';
  if (livedMs > settledMs || (wasKilled && wasReady)) return 0;
  return Math.min(Math.max(pauseMs * 2, shortestPauseMs), wasKilled ? longestPauseAfterKillMs : longestPauseMs);
}
