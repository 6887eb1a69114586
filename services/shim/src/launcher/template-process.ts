import {
  CLONE_PARENT,
  closeFd,
  exitNow,
  getppid,
  pipe2,
  recv,
  recvFds,
  SIGKILL,
  sendFds,
  setParentDeathSignal,
  setProcessName,
  unixSocketPair,
  writeFd,
} from '@flotilla/linux';
import { cloneInto, type ForkCounts, fork, forkCounts } from '@flotilla/linux/fork';
import type { ShimTask } from './launch.ts';

/** What a forked child is to become. */
export interface ShimBirth {
  readonly task: ShimTask;
  readonly readyFd: number;
}

const longestCommandBytes = 16 << 10;

/**
 * The process that shims are forked from, as the launcher sees it. It is a fork of the launcher that does nothing but fork:
 * a page that the parent writes between two forks is a page of its own for each child, and the launcher writes many.
 * Shims are born as children of the launcher (CLONE_PARENT).
 */
export class TemplateProcess {
  readonly pid: number;
  readonly #socketFd: number;
  #counts: ForkCounts = { forks: 0, replaced: 0 };

  private constructor(pid: number, socketFd: number) {
    this.pid = pid;
    this.#socketFd = socketFd;
  }

  /** Forks it; answers in the launcher with the template, and in each shim with what it is to become. */
  static start(listenFd: number): TemplateProcess | ShimBirth {
    const [socketFd, commandFd] = unixSocketPair();
    const pid = fork();
    closeFd(pid === 0 ? socketFd : commandFd);
    if (pid !== 0) return new TemplateProcess(pid, socketFd);
    closeFd(listenFd);
    return forkShims(commandFd);
  }

  /** Of the template. */
  get counts(): ForkCounts {
    return this.#counts;
  }

  /** Makes a shim, a child of this process. Blocks for some milliseconds. */
  forkShim(task: ShimTask): { readonly pid: number; readonly readyFd: number } {
    const { readFd, writeFd: readyFd } = pipe2();
    try {
      sendFds(this.#socketFd, encodeTask(task), [readyFd]);
    } finally {
      closeFd(readyFd);
    }
    const answer = new Int32Array(3);
    const length = recv(this.#socketFd, new Uint8Array(answer.buffer));
    const [pid = 0, forks = 0, replaced = 0] = answer;
    if (length !== answer.byteLength || pid === 0) {
      closeFd(readFd);
      throw new Error('the template of the shims cannot be forked');
    }
    this.#counts = { forks, replaced };
    return { pid, readyFd: readFd };
  }
}

/** The template's life: returns in a shim only. As little as can be is done, and in the same memory each time. */
function forkShims(commandFd: number): ShimBirth {
  setProcessName('flotilla-templ');
  setParentDeathSignal(SIGKILL);
  if (getppid() === 1) exitNow(0); // The launcher ended before it could be noticed.
  const command = Buffer.allocUnsafeSlow(longestCommandBytes);
  const answer = new Int32Array(3);
  const answerBytes = new Uint8Array(answer.buffer);
  for (;;) {
    const received = recvFds(commandFd, command, 1);
    const readyFd = received?.fds[0];
    if (received === undefined || readyFd === undefined) return exitNow(0);
    const child = cloneOrNot();
    if (child === 'shim') {
      closeFd(commandFd);
      return { task: decodeTask(command.subarray(0, received.length)), readyFd };
    }
    closeFd(readyFd);
    const { forks, replaced } = forkCounts();
    answer.set([child, forks, replaced]);
    writeFd(commandFd, answerBytes);
  }
}

/** The pid in the parent, 0 when it could not be done. */
function cloneOrNot(): number | 'shim' {
  try {
    const child = cloneInto({ flags: CLONE_PARENT });
    if (child === undefined) return 'shim';
    closeFd(child.pidfd);
    return child.pid;
  } catch {
    return 0;
  }
}

function encodeTask({ run, ...rest }: ShimTask): Buffer {
  return Buffer.from(JSON.stringify({ ...rest, run: String(run) }));
}

function decodeTask(bytes: Buffer): ShimTask {
  const { run, ...rest } = JSON.parse(bytes.toString()) as Omit<ShimTask, 'run'> & { readonly run: string };
  return { ...rest, run: BigInt(run) };
}
