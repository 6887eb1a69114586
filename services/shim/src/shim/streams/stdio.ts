import { chownSync, closeSync, constants, fchownSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerStdio } from '@flotilla/libcontainer';
import { AT_FDCWD, closeFd, isErrno, mknodat, pipe2, setPipeSize } from '@flotilla/linux';

const S_IFIFO = 0o010000;
const fifoBytes = 256 * 1024;

/** Our ends of a process's streams: all of a terminal, or of a stream each. */
export interface StreamEnds {
  readonly terminalFd?: number | undefined;
  readonly stdinFd?: number | undefined;
  readonly stdoutFd?: number | undefined;
  readonly stderrFd?: number | undefined;
}

/** Both sides. */
export interface StdioPair {
  readonly ends: StreamEnds;
  readonly container: Extract<ContainerStdio, { kind: 'descriptors' }>;
  /** Once the process has its copies. */
  closeContainerSide(): void;
  /** The process was never made. */
  closeAll(): void;
}

/** Owner on the host: container's user, so that it may reopen /dev/stdout by path. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export const fifoNames = ['stdin', 'stdout', 'stderr'] as const;

/**
 * Makes the FIFOs of container's init. The container gets its outputs read-write, so that a writer whose reader is gone
 * blocks instead of getting SIGPIPE, and its input read-only, or it would never see the end of it: fifo(7). The reading
 * ends here are open files of their own, so that their O_NONBLOCK is not the container's.
 */
export function makeFifos(dir: string, owner: Owner, openStdin: boolean): StdioPair {
  const opened = new Descriptors();
  try {
    const output = (name: 'stdout' | 'stderr') => {
      const path = makeFifo(dir, name);
      chownSync(path, owner.uid, owner.gid);
      const end = opened.open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      growPipe(end);
      return { end, container: opened.open(path, constants.O_RDWR) };
    };
    const stdout = output('stdout');
    const stderr = output('stderr');
    const stdin = openStdin ? opened.input(makeFifo(dir, 'stdin')) : { container: opened.nothing() };
    return opened.pair(stdin, stdout, stderr);
  } catch (error) {
    opened.closeAll();
    throw error;
  }
}

/** What an exec's streams are. */
export interface ExecStdioOptions {
  readonly owner: Owner;
  readonly stdin: boolean;
  /** Nobody will read its output: /dev/null. */
  readonly detach: boolean;
}

/** The same with pipes that have no name. */
export function makePipes({ owner, stdin, detach }: ExecStdioOptions): StdioPair {
  const opened = new Descriptors();
  try {
    const output = () => (detach ? { end: undefined, container: opened.nothing() } : opened.output(owner));
    return opened.pair(stdin ? opened.inputPipe() : { container: opened.nothing() }, output(), output());
  } catch (error) {
    opened.closeAll();
    throw error;
  }
}

/** What was opened so far, to be closed when something fails. */
class Descriptors {
  readonly #fds = new Set<number>();

  open(path: string, flags: number): number {
    return this.#add(openSync(path, flags | constants.O_NOCTTY));
  }

  nothing(): number {
    return this.open('/dev/null', constants.O_RDWR);
  }

  /** A FIFO's two ends, neither of which had to wait for the other. */
  input(path: string): { end: number; container: number } {
    const waiting = this.open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const end = this.open(path, constants.O_WRONLY | constants.O_NONBLOCK);
    const container = this.open(path, constants.O_RDONLY);
    this.#close(waiting);
    return { end, container };
  }

  inputPipe(): { end: number; container: number } {
    const { readFd, writeFd } = pipe2();
    return { end: this.#add(writeFd), container: this.#add(readFd) };
  }

  output(owner: Owner): { end: number; container: number } {
    const { readFd, writeFd } = pipe2();
    const end = this.#add(readFd);
    this.#add(writeFd);
    fchownSync(writeFd, owner.uid, owner.gid);
    const container = this.open(`/proc/self/fd/${writeFd}`, constants.O_RDWR);
    this.#close(writeFd);
    return { end, container };
  }

  pair(stdin: Ends, stdout: Ends, stderr: Ends): StdioPair {
    const container = {
      kind: 'descriptors',
      stdin: stdin.container,
      stdout: stdout.container,
      stderr: stderr.container,
    };
    return {
      ends: { stdinFd: stdin.end, stdoutFd: stdout.end, stderrFd: stderr.end },
      container: container as StdioPair['container'],
      closeContainerSide: () => {
        for (const one of [stdin, stdout, stderr]) this.#close(one.container);
      },
      closeAll: () => this.closeAll(),
    };
  }

  closeAll(): void {
    for (const fd of this.#fds) closeSync(fd);
    this.#fds.clear();
  }

  #add(fd: number): number {
    this.#fds.add(fd);
    return fd;
  }

  #close(fd: number): void {
    closeFd(fd);
    this.#fds.delete(fd);
  }
}

interface Ends {
  readonly end?: number | undefined;
  readonly container: number;
}

function makeFifo(dir: string, name: (typeof fifoNames)[number]): string {
  const path = join(dir, name);
  rmSync(path, { force: true });
  mknodat(AT_FDCWD, path, S_IFIFO | 0o600);
  return path;
}

/** More room, fewer changes between writer and reader. What the host's limit does not allow is no failure. */
function growPipe(fd: number): void {
  try {
    setPipeSize(fd, fifoBytes);
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error;
  }
}
