import {
  CLONE_PARENT,
  closeFd,
  exitNow,
  getpid,
  recv,
  recvFds,
  sendFds,
  unixSocketPair,
  writeFd,
} from '@flotilla/linux';
import { cloneInto, type ForkCounts, fork, forkCounts } from '@flotilla/linux/fork';
import { decodeOrder, encodeOrder, type NamedFds, type ShimTask } from './shim-task.ts';

/** What a forked child is to become. */
export interface ShimBirth {
  readonly task: ShimTask;
  readonly readyFd: number;
  /** What was kept of the shim before it. */
  readonly fds: NamedFds;
  readonly launcherPid: number;
}

/** A shim that was started, a child of this process. */
export interface StartedShim {
  readonly pid: number;
  /** This end of a socket pair: its answer comes here, and descriptors with it. */
  readonly readyFd: number;
}

const longestCommandBytes = 16 << 10;
/** The answer's, and what is kept of a shim. */
const mostFds = 16;

/**
 * The process that shims are forked from, as the launcher sees it. It is a fork of the launcher that does nothing but fork:
 * a page that the parent writes between two forks is a page of its own for each child, and the launcher writes many.
 * Shims are born as children of the launcher (CLONE_PARENT).
 */
export class TemplateProcess {
  readonly pid: number;
  readonly #socketFd: number;
  #counts: ForkCounts = { forks: 0, replaced: 0 };

  constructor(pid: number, socketFd: number) {
    this.pid = pid;
    this.#socketFd = socketFd;
  }

  /** Forks it; answers, in the child, the descriptor for {@link forkShims}. `privateFds` are the launcher's alone. */
  static fork(privateFds: readonly number[]): TemplateProcess | number {
    const [socketFd, commandFd] = unixSocketPair();
    const pid = fork();
    closeFd(pid === 0 ? socketFd : commandFd);
    if (pid !== 0) return new TemplateProcess(pid, socketFd);
    for (const fd of privateFds) closeFd(fd);
    return commandFd;
  }

  /** The launcher's end. */
  get socketFd(): number {
    return this.#socketFd;
  }

  /** Of the template. */
  get counts(): ForkCounts {
    return this.#counts;
  }

  /** Makes a shim, a child of this process. Blocks for some milliseconds. */
  forkShim(task: ShimTask, fds: NamedFds): StartedShim {
    const order = encodeOrder({ task, fdNames: Object.keys(fds), launcherPid: getpid() });
    const [readyFd, shimFd] = unixSocketPair();
    try {
      sendFds(this.#socketFd, Buffer.from(order), [shimFd, ...Object.values(fds)]);
    } finally {
      closeFd(shimFd);
    }
    const answer = new Int32Array(3);
    const length = recv(this.#socketFd, new Uint8Array(answer.buffer));
    const [pid = 0, forks = 0, replaced = 0] = answer;
    if (length !== answer.byteLength || pid === 0) {
      closeFd(readyFd);
      throw new Error('the template of the shims cannot be forked');
    }
    this.#counts = { forks, replaced };
    return { pid, readyFd };
  }

  /** It has nothing more to do, and leaves. */
  close(): void {
    closeFd(this.#socketFd);
  }
}

/** The template's life: returns in a shim only. As little as can be is done, and in the same memory each time. */
export function forkShims(commandFd: number): ShimBirth {
  const command = Buffer.allocUnsafeSlow(longestCommandBytes);
  const answer = new Int32Array(3);
  const answerBytes = new Uint8Array(answer.buffer);
  for (;;) {
    const received = recvFds(commandFd, command, mostFds);
    const [readyFd, ...kept] = received?.fds ?? [];
    if (received === undefined || readyFd === undefined) return exitNow(0);
    const child = cloneOrNot();
    if (child === 'shim') {
      closeFd(commandFd);
      const { fdNames, ...order } = decodeOrder(command.toString('utf8', 0, received.length));
      return { ...order, readyFd, fds: Object.fromEntries(fdNames.map((name, i) => [name, kept[i]!])) };
    }
    for (const fd of received.fds) closeFd(fd);
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
