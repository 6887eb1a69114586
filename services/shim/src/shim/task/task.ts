import { FlotillaError, hasReason, invalidField } from '@flotilla/errors';
import { type ChildExit, nowUnixNano, SIGKILL } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { Bundle } from '../bundle.ts';
import { writeExitRecord } from '../exit-record.ts';
import type { Ledger } from '../output/ledger.ts';
import type { RecordedOutput } from '../output/recorded-output.ts';
import type { ProcessStreams } from '../streams/process-streams.ts';
import { Attachments } from './attachments.ts';
import { type Exit, notRunning, signalProcess } from './exec.ts';
import type { ExecTable } from './exec-table.ts';
import type { ExitReporter } from './exit-reporter.ts';
import type { Init } from './init.ts';
import type { Reaper } from './reaper.ts';
import { within } from './within.ts';

/** Output of a process that cannot be killed may never end. */
const drainMs = 5_000;
const shortestSettleMs = 1_000;
/** How long a start waits for the clients it expects. */
const attachmentMs = 1_000;
/** How long its end waits for those that have not come yet: a client that could not keep up with a short command. */
const lateAttachmentMs = 3_000;
const deleteMs = 10_000;
/** How long a task that was reported waits for its removal. */
const lingerMs = 10_000;
const lastSignal = 64;

export type TaskExit = Exit & { readonly oomKilled: boolean };

export type TaskState =
  | { readonly name: 'created' }
  | { readonly name: 'running' | 'paused'; readonly startedAtUnixNano: bigint }
  | { readonly name: 'exited'; readonly exit: TaskExit };

export interface TaskOptions {
  readonly bundle: Bundle;
  readonly init: Init;
  readonly streams: ProcessStreams;
  readonly output: RecordedOutput;
  readonly ledger: Ledger;
  readonly execs: ExecTable;
  readonly reaper: Reaper;
  readonly reporter: ExitReporter;
  readonly log: Logger;
  /** Absent: a container of this shim's own, not started. */
  readonly initial?: TaskState | undefined;
  /** Removes what the task has on the host besides its processes. */
  readonly cleanUp: () => void;
  /** Ends this process, once calls under way are answered. */
  readonly leave: () => void;
}

/** Container's init, from waiting to the end. */
export class Task {
  readonly attachments = new Attachments();
  readonly #options: TaskOptions;
  readonly #ended = Promise.withResolvers<TaskExit>();
  readonly #deleted = Promise.withResolvers<void>();
  #state: TaskState;
  #starting: Promise<bigint> | undefined;
  #expectedAttachments = 0;
  /** Nobody is told of the exit by us: the caller of StartTask or DeleteTask is told in the answer. */
  #silent = false;
  /** Set once init could not be started. */
  #failedStart: number | undefined;

  constructor(options: TaskOptions) {
    this.#options = options;
    this.#state = options.initial ?? { name: 'created' };
    const { startedAtUnixNano } = options.ledger;
    if (options.initial === undefined) return;
    if (startedAtUnixNano === 0n) this.#silent = true;
    else this.#starting = Promise.resolve(startedAtUnixNano);
  }

  get state(): TaskState {
    return this.#state;
  }

  /** When init was released; 0 when it never was. */
  get startedAtUnixNano(): bigint {
    return this.#options.ledger.startedAtUnixNano;
  }

  /** Resolves when init has exited, its output is drained, and the exit is on disk. */
  get ended(): Promise<TaskExit> {
    return this.#ended.promise;
  }

  /** Releases init. Answers when it was started, at every call alike. Throws what CreatedInit.release does: then it is over. */
  start(expectedAttachments: number): Promise<bigint> {
    this.#starting ??= this.#start(expectedAttachments);
    return this.#starting;
  }

  /** INVALID_FIELD, FAILED_PRECONDITION / TASK_NOT_RUNNING. */
  kill(signal: number, all: boolean): void {
    checkSignal(signal);
    if (this.#state.name === 'exited') throw notRunning('the container');
    const { init } = this.#options;
    if (all) init.cgroup.killAll(signal);
    else if (init.pidfd === undefined) throw notRunning('the container');
    else signalProcess(init.pidfd, signal, 'the container');
    if (signal === SIGKILL) this.#thaw();
  }

  /** Idempotent. FAILED_PRECONDITION / TASK_NOT_RUNNING. */
  pause(): void {
    if (this.#state.name === 'paused') return;
    if (this.#state.name !== 'running') throw notRunning('the container');
    this.#options.init.cgroup.freeze();
    this.#state = { ...this.#state, name: 'paused' };
  }

  /** Idempotent. FAILED_PRECONDITION / TASK_NOT_RUNNING. */
  resume(): void {
    if (this.#state.name === 'running') return;
    if (this.#state.name !== 'paused') throw notRunning('the container');
    this.#thaw();
  }

  /** FAILED_PRECONDITION / TASK_NOT_RUNNING or TASK_PAUSED: nothing can be started in it now. */
  checkRunning(): void {
    if (this.#state.name === 'paused') {
      throw new FlotillaError('failed_precondition', 'the container is paused', { reason: 'TASK_PAUSED' });
    }
    if (this.#state.name !== 'running') throw notRunning('the container');
  }

  /** Kills what is left and removes it all. ABORTED / TASK_NOT_ENDING when the kernel will not let go of a process. */
  async delete(): Promise<TaskExit> {
    const { init, cleanUp, leave } = this.#options;
    if (this.#state.name !== 'exited') {
      this.#silent = true;
      this.#killAll();
      if (!(await within(this.#ended.promise, deleteMs))) throw notEnding(init.cgroup.pids());
    }
    cleanUp();
    this.#deleted.resolve();
    leave();
    return this.#ended.promise;
  }

  /** Init is gone: a zombie still, when it is a child of this process. */
  initExited(
    { exitCode, signal }: Pick<ChildExit, 'exitCode' | 'signal'>,
    exitedAtUnixNano: bigint = nowUnixNano(),
  ): void {
    void this.#end({ exitCode, signal, exitedAtUnixNano });
  }

  async #start(expectedAttachments: number): Promise<bigint> {
    this.#expectedAttachments = expectedAttachments;
    await this.attachments.wait(expectedAttachments, attachmentMs);
    if (this.#state.name !== 'created') throw notRunning('the container');
    const { init, ledger, cleanUp, leave } = this.#options;
    ledger.recordStart(nowUnixNano());
    try {
      init.release();
    } catch (error) {
      this.#silent = true;
      this.#failedStart = exitCodeOf(error);
      this.#killAll();
      await within(this.#ended.promise, deleteMs);
      cleanUp();
      leave();
      throw error;
    }
    ledger.recordReleased();
    const startedAtUnixNano = nowUnixNano();
    this.#state = { name: 'running', startedAtUnixNano };
    return startedAtUnixNano;
  }

  async #end(exit: Exit & { readonly signal: number | undefined }): Promise<void> {
    const { streams, output, reaper, execs, log } = this.#options;
    const { signal, ...known } = exit;
    // Whether init left by itself or was killed first is chance; why it could not start is not.
    const exitCode = this.#failedStart ?? known.exitCode;
    const ended: TaskExit = { ...known, exitCode, oomKilled: this.#wasOomKilled() };
    if (this.#options.init.cgroup.isPopulated()) this.#killAll();
    const drainUntil = performance.now() + drainMs;
    await streams.drain(drainMs);
    // A log daemon that hangs must not hold up whoever waits for the exit, having held up the output already.
    if (!(await output.settle(Math.max(shortestSettleMs, drainUntil - performance.now()))))
      log.error({}, 'the last of the output could not be logged and is lost');
    if (this.startedAtUnixNano !== 0n) this.#record(ended, signal);
    reaper.reapInit();
    if (!this.#silent) await this.attachments.wait(this.#expectedAttachments, lateAttachmentMs);
    streams.finish(exit.exitCode);
    await execs.allTold(drainMs);
    this.#state = { name: 'exited', exit: ended };
    log.info({ exitCode: ended.exitCode, oomKilled: ended.oomKilled }, 'container exited');
    this.#ended.resolve(ended);
    if (!this.#silent) await this.#reportAndLinger(ended);
  }

  /** Status on disk comes before anybody is told. Without a disk, telling is all that is left. */
  #record(exit: TaskExit, signal: number | undefined): void {
    const { bundle, log } = this.#options;
    const { containerId, run, stateDir } = bundle.options;
    try {
      writeExitRecord(stateDir, {
        containerId,
        run,
        ...exit,
        ...(signal === undefined ? {} : { signal }),
        drained: true,
      });
    } catch (error) {
      log.error({ err: error }, 'the exit could not be recorded');
    }
  }

  async #reportAndLinger(exit: TaskExit): Promise<void> {
    const { bundle, reporter, cleanUp, leave } = this.#options;
    const { containerId, run } = bundle.options;
    await reporter.reportTask({ containerId, run, ...exit });
    if (await within(this.#deleted.promise, lingerMs)) return;
    cleanUp();
    leave();
  }

  #wasOomKilled(): boolean {
    try {
      return this.#options.init.cgroup.oomKillCount() > 0;
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the count of out-of-memory kills cannot be read');
      return false;
    }
  }

  #killAll(): void {
    const { init } = this.#options;
    init.kill();
    init.cgroup.killAll(SIGKILL);
    this.#thaw();
  }

  /** A frozen process of cgroup v1 does not even die. */
  #thaw(): void {
    if (this.#state.name !== 'paused') return;
    this.#options.init.cgroup.thaw();
    this.#state = { ...this.#state, name: 'running' };
  }
}

/** Signal 0 only asks. */
export function checkSignal(signal: number): void {
  if (signal < 0 || signal > lastSignal) throw invalidField('signal', `0 to ${lastSignal}`, String(signal));
}

function notEnding(left: readonly number[]): FlotillaError {
  const pids = left.join(' ');
  return new FlotillaError('aborted', `the kernel does not let go of process ${pids}`, {
    reason: 'TASK_NOT_ENDING',
    metadata: { pids },
  });
}

/** What a shell would answer (POSIX sh, Exit Status for Commands): 127 for a command that is not there, else 126. */
function exitCodeOf(error: unknown): number {
  return hasReason(error, 'COMMAND_NOT_FOUND') ? 127 : 126;
}
