import { FlotillaError, invalidField } from '@flotilla/errors';
import { type ContainerStdio, type Starter, startExec } from '@flotilla/libcontainer';
import {
  type ChildExit,
  closeFd,
  duplicateFd,
  findProcess,
  POLLIN,
  pidfdSendSignal,
  poll,
  SIGKILL,
  waitPidfd,
} from '@flotilla/linux';
import type { Process, Spec } from '@flotilla/oci';
import type { StartExecRequest } from '@flotilla/proto/flotilla/shim/v1/shim';
import { killedExit, unknownExit, untilGone } from '../adopt/adopted-exit.ts';
import { findReapedExec } from '../adopt/reaped-exit.ts';
import { ownerOnHost } from '../bundle.ts';
import { ProcessStreams } from '../streams/process-streams.ts';
import { makePipes, type StdioPair, type StreamEnds } from '../streams/stdio.ts';
import { Exec, type Exit, notRunning } from './exec.ts';
import { type ExecFile, readExecFile, removeExecFile, writeExecFile } from './exec-files.ts';
import type { Init } from './init.ts';
import type { Reaper } from './reaper.ts';
import { within } from './within.ts';

/** How long the output of an exec waits for its client to come back, when the shim was replaced. */
const comeBackMs = 5_000;
/** How long an exec that has ended can still be asked about, and attached to if nobody was. */
const rememberMs = 30_000;

export interface ExecTableOptions {
  readonly init: Init;
  readonly shimDir: string;
  readonly spec: Spec;
  readonly starter: Starter;
  readonly reaper: Reaper;
  /** Told of each exit, after the output of an exec that is attached to. */
  readonly onExit: (execId: string, exit: Exit) => void;
}

/** An exec that another shim had started and this one goes on with. */
export interface AdoptedExec {
  readonly execId: string;
  readonly pid: number;
  /** Closed by the table; -1 for one that has ended. */
  readonly pidfd: number;
  /** Absent while it runs. */
  readonly exit?: Exit | undefined;
  readonly ends: StreamEnds;
  /** Nobody will read its output, or somebody has. */
  readonly opened: boolean;
}

/** The processes that were started in the container besides init. */
export class ExecTable implements Disposable {
  readonly #options: ExecTableOptions;
  readonly #execs = new Map<string, Exec>();
  /** Of those whose exits are not yet told. */
  readonly #untold = new Set<Promise<void>>();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(options: ExecTableOptions) {
    this.#options = options;
  }

  /** NOT_FOUND / EXEC_NOT_FOUND. */
  get(execId: string): Exec {
    const exec = this.#execs.get(execId);
    if (exec === undefined) {
      throw new FlotillaError('not_found', `no such exec: ${execId}`, {
        reason: 'EXEC_NOT_FOUND',
        metadata: { execId },
      });
    }
    return exec;
  }

  get runningIds(): string[] {
    return this.running.map(({ execId }) => execId);
  }

  /**
   * Starts one; one that was started before stays as it is. Synchronous: its exit cannot be seen before it is in the table.
   * NOT_FOUND / COMMAND_NOT_FOUND, PERMISSION_DENIED / COMMAND_NOT_EXECUTABLE, FAILED_PRECONDITION / WORKING_DIR_INVALID;
   * ABORTED / EXEC_LOST for one that a shim before this one had started, and that ended with it.
   */
  start({ execId, processJson, detach, stdin, size, unconfined }: StartExecRequest): Exec {
    const before = this.#execs.get(execId);
    if (before !== undefined) return before;
    if (execId === '') throw invalidField('exec_id', 'not empty');
    const ended = readExecFile(this.#options.shimDir, execId);
    if (ended !== undefined) throw lost(ended);
    const process = parseProcess(processJson);
    // First the intent: a shim that takes over from one that was killed here must not start it a second time.
    writeExecFile(this.#options.shimDir, { execId, pid: 0, startTime: 0, detach });
    try {
      if (process.terminal === true) {
        const wanted = size !== undefined && size.rows > 0 && size.columns > 0 ? { size } : {};
        const started = this.#startProcess(process, { kind: 'terminal', ...wanted }, unconfined);
        return this.#add(execId, started, { terminalFd: started.consoleFd }, detach);
      }
      const pipes = makePipes({ owner: ownerOnHost(this.#options.spec, process.user), stdin, detach });
      return this.#add(execId, this.#startWithPipes(process, pipes, unconfined), pipes.ends, detach);
    } catch (error) {
      removeExecFile(this.#options.shimDir, execId);
      throw error;
    }
  }

  /** Goes on with another shim's. */
  adopt({ execId, pid, pidfd, ends, opened, exit: ended }: AdoptedExec): void {
    const exec = new Exec(execId, { pid, pidfd }, new ProcessStreams({ ends }));
    if (ended !== undefined) {
      exec.endedBefore(ended);
      this.#execs.set(execId, exec);
      this.#timers.add(setTimeout(() => this.#forget(exec), rememberMs).unref());
      return;
    }
    // Nobody reads when the client does not come back, and the process must not be held up for ever.
    if (opened) this.#timers.add(setTimeout(() => exec.streams.open(), comeBackMs).unref());
    const onExit = this.#watch(exec);
    const findRecord = () => findReapedExec(readExecFile(this.#options.shimDir, execId));
    void untilGone(duplicateFd(pidfd), findRecord).then((exit) =>
      this.#options.reaper.passOn(() => onExit(exit ?? unknownExit)),
    );
  }

  /** Those that run. */
  get running(): readonly Exec[] {
    return [...this.#execs.values()].filter((exec) => exec.running);
  }

  /** Those that run, and those whose output waits. */
  get unfinished(): readonly Exec[] {
    return [...this.#execs.values()].filter((exec) => exec.running || !exec.streams.isOpen);
  }

  /** Resolves when all are gone and their exits told, or after `waitMs`. */
  async allTold(waitMs: number): Promise<void> {
    if (this.#untold.size === 0) return;
    await within(Promise.all(this.#untold), waitMs);
  }

  /** Forgets all. */
  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const exec of this.#execs.values()) this.#forget(exec);
  }

  #startWithPipes(process: Process, pipes: StdioPair, unconfined: boolean): ReturnType<typeof startExec> {
    try {
      const started = this.#startProcess(process, pipes.container, unconfined);
      pipes.closeContainerSide();
      return started;
    } catch (error) {
      pipes.closeAll();
      throw error;
    }
  }

  #startProcess(process: Process, stdio: ContainerStdio, unconfined: boolean): ReturnType<typeof startExec> {
    const { init, starter } = this.#options;
    const spec = unconfined ? withoutSeccomp(this.#options.spec) : this.#options.spec;
    const { pid: containerPid, pidfd: containerPidfd, cgroup } = init;
    if (containerPidfd === undefined) throw notRunning('the container');
    try {
      return startExec({ containerPid, containerPidfd, spec, process, cgroup, stdio, starter });
    } catch (error) {
      // The container ended in that very moment: pidfd_open(2). Init need not be this process's own child.
      if (poll([{ fd: containerPidfd, events: POLLIN }], 0)[0] !== 0) throw notRunning('the container');
      throw error;
    }
  }

  #add(execId: string, { pid, pidfd }: ReturnType<typeof startExec>, ends: StreamEnds, detach: boolean): Exec {
    const streams = new ProcessStreams({ ends });
    if (detach) streams.open();
    const exec = new Exec(execId, { pid, pidfd }, streams);
    try {
      writeExecFile(this.#options.shimDir, { execId, pid, startTime: findProcess(pid)?.startTime ?? 0, detach });
    } catch (error) {
      // Its caller is told that it was not started, and nobody is to find it running.
      pidfdSendSignal(pidfd, SIGKILL);
      waitPidfd(pidfd);
      closeFd(pidfd);
      streams.close();
      throw error;
    }
    const onExit = this.#watch(exec);
    this.#options.reaper.add({ pid, pidfd, onExit });
    return exec;
  }

  /** Puts it into the table; what is returned takes its exit. */
  #watch(exec: Exec): (exit: Pick<ChildExit, 'exitCode'>) => void {
    this.#execs.set(exec.execId, exec);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#untold.add(promise);
    const onExit = async (exit: Pick<ChildExit, 'exitCode'>): Promise<void> => {
      this.#timers.add(setTimeout(() => this.#forget(exec), rememberMs).unref());
      this.#options.onExit(exec.execId, await exec.exited(exit));
      this.#untold.delete(promise);
      resolve();
    };
    return (exit) => void onExit(exit);
  }

  #forget(exec: Exec): void {
    exec.streams.close();
    this.#execs.delete(exec.execId);
  }
}

function lost({ execId, exit }: ExecFile): FlotillaError {
  const exitCode = exit?.exitCode ?? killedExit.exitCode;
  return new FlotillaError('aborted', `exec ${execId} has ended with the shim that had started it`, {
    reason: 'EXEC_LOST',
    metadata: { execId, exitCode: String(exitCode) },
  });
}

function withoutSeccomp(spec: Spec): Spec {
  const { seccomp: _, ...linux } = spec.linux ?? {};
  return { ...spec, linux };
}

/** OCI runtime-spec `process`, as far as it must be there to be started. */
function parseProcess(json: string): Process {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw invalidField('process_json', 'a JSON object');
  }
  if (typeof value !== 'object' || value === null) throw invalidField('process_json', 'a JSON object');
  const { args, cwd, user } = value as Partial<Process>;
  if (!Array.isArray(args) || args.length === 0 || !args.every((one) => typeof one === 'string')) {
    throw invalidField('process_json.args', 'a list of at least one text');
  }
  if (typeof cwd !== 'string' || !cwd.startsWith('/')) throw invalidField('process_json.cwd', 'an absolute path');
  if (typeof user?.uid !== 'number' || typeof user.gid !== 'number') {
    throw invalidField('process_json.user', 'an object with uid and gid');
  }
  return value as Process;
}
