import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { closeFd, findProcess, isErrno, isSameProcess, pidfdOpen, pidfdSendSignal } from '@flotilla/linux';

/** `shim.json`: what a shim wrote of itself once it had made its container. */
export interface ShimFile {
  readonly pid: number;
  /** Clock ticks after boot: proc_pid_stat(5). */
  readonly startTime: number;
  readonly run: string;
  readonly initPid: number;
  /** Of init; absent when it was gone already, and in files of earlier releases. */
  readonly initStartTime?: number;
}

/** Undefined when no shim has made a container in this folder, or what it wrote is not whole. */
export function readShimFile(shimDir: string): ShimFile | undefined {
  try {
    return JSON.parse(readFileSync(join(shimDir, 'shim.json'), 'utf8')) as ShimFile;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function isShimAlive({ pid, startTime }: ShimFile): boolean {
  return isSameProcess(pid, startTime);
}

/**
 * Init is known by its start time. Without one in the file it is younger than the shim that made it, which a process with a
 * reused pid need not be; a shim that has adopted a container is younger than its init.
 */
export function isInitAlive({ initPid, initStartTime, startTime }: ShimFile): boolean {
  const init = findProcess(initPid);
  if (init === undefined || 'ZX'.includes(init.state)) return false;
  return initStartTime === undefined ? init.startTime >= startTime : init.startTime === initStartTime;
}

/** Sends a signal to init without its shim. False when it is gone. */
export function signalInit(file: ShimFile, signal: number): boolean {
  let pidfd: number;
  try {
    pidfd = pidfdOpen(file.initPid);
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return false;
    throw error;
  }
  try {
    // The descriptor holds the process: what is true of it now stays true while the signal is sent.
    if (!isInitAlive(file)) return false;
    pidfdSendSignal(pidfd, signal);
    return true;
  } catch (error) {
    if (isErrno(error, 'ESRCH')) return false;
    throw error;
  } finally {
    closeFd(pidfd);
  }
}
