import { FlotillaError } from '@flotilla/errors';
import { type ChildExit, closeFd, isErrno, kill, nowUnixNano, pidfdSendSignal } from '@flotilla/linux';
import type { ProcessStreams } from '../streams/process-streams.ts';

/** How a process ended. */
export interface Exit {
  /** 0 to 255, 128 + signal when killed. */
  readonly exitCode: number;
  readonly exitedAtUnixNano: bigint;
}

/** A process that was started in the container besides init. */
export class Exec {
  readonly execId: string;
  readonly pid: number;
  readonly streams: ProcessStreams;
  /** Open while it runs. */
  readonly pidfd: number;
  readonly #finished = Promise.withResolvers<Exit>();
  #exit: Exit | undefined;

  constructor(
    execId: string,
    { pid, pidfd }: { readonly pid: number; readonly pidfd: number },
    streams: ProcessStreams,
  ) {
    this.execId = execId;
    this.pid = pid;
    this.pidfd = pidfd;
    this.streams = streams;
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** Resolves when it has exited and whoever reads its output has it. */
  get finished(): Promise<Exit> {
    return this.#finished.promise;
  }

  /** How it ended; `undefined` while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** It had ended while another shim had it, and its output still waits. */
  endedBefore(exit: Exit): void {
    this.#exit = exit;
    this.#finished.resolve(exit);
  }

  /** `all`: its process group, too. FAILED_PRECONDITION / TASK_NOT_RUNNING. */
  kill(signal: number, all = false): void {
    if (this.#exit !== undefined) throw notRunning(`exec ${this.execId}`);
    signalProcess(this.pidfd, signal, `exec ${this.execId}`);
    if (all) signalGroup(this.pid, signal);
  }

  /**
   * It was reaped. Output that somebody reads is read to what is there, others (what it left running) may hold the pipe for
   * long; output that nobody has attached to yet waits in its pipe.
   */
  async exited({ exitCode }: Pick<ChildExit, 'exitCode'>): Promise<Exit> {
    this.#exit = { exitCode, exitedAtUnixNano: nowUnixNano() };
    closeFd(this.pidfd);
    if (this.streams.isOpen) await this.drain();
    this.#finished.resolve(this.#exit);
    return this.#exit;
  }

  /** After its exit, for a client that attaches late. */
  async drain(): Promise<void> {
    await this.streams.drain(0);
    this.streams.finish(this.#exit!.exitCode);
  }
}

/** Sends a signal by pidfd: to that process or to nobody. FAILED_PRECONDITION / TASK_NOT_RUNNING when it is gone. */
export function signalProcess(pidfd: number, signal: number, what: string): void {
  try {
    pidfdSendSignal(pidfd, signal);
  } catch (error) {
    if (isErrno(error, 'ESRCH')) throw notRunning(what);
    throw error;
  }
}

/** An exec leads a session and a group of its own. What has left both goes on. */
function signalGroup(leader: number, signal: number): void {
  try {
    kill(-leader, signal);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error; // the leader was alone
  }
}

export function notRunning(what: string): FlotillaError {
  return new FlotillaError('failed_precondition', `${what} is not running`, {
    reason: 'TASK_NOT_RUNNING',
    metadata: { what },
  });
}
