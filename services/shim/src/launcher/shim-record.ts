import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { closeFd, findProcess, isErrno, pidfdOpen } from '@flotilla/linux';
import type { ShimFile } from '../shim/shim-file.ts';
import { WatchedProcess } from './watched-process.ts';

/** What `shim.json` says; `undefined` when no shim has made a container in this folder. */
export function findShimRecord(shimDir: string): ShimFile | undefined {
  try {
    return JSON.parse(readFileSync(join(shimDir, 'shim.json'), 'utf8')) as ShimFile;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** The shim of the record, if it lives. */
export function openShim({ pid, startTime }: ShimFile): WatchedProcess | undefined {
  return open(pid, (found) => found === startTime);
}

/**
 * The container's init, if it is there. A record of an earlier release has no start time of init's: it is younger than the
 * shim that made it, which a process of an earlier boot or with a reused pid need not be.
 */
export function openInit({ initPid, initStartTime, startTime }: ShimFile): WatchedProcess | undefined {
  return open(initPid, (found) => (initStartTime === undefined ? found >= startTime : found === initStartTime));
}

/** The pidfd first: the process that is looked at then cannot become another. */
export function open(pid: number, isIt: (startTime: number) => boolean): WatchedProcess | undefined {
  let pidfd: number;
  try {
    pidfd = pidfdOpen(pid);
  } catch (error) {
    if (isErrno(error, 'ESRCH', 'EINVAL')) return undefined; // EINVAL: a thread's id now.
    throw error;
  }
  const found = findProcess(pid);
  if (found !== undefined && found.state !== 'X' && isIt(found.startTime)) return new WatchedProcess(pid, pidfd);
  closeFd(pidfd);
  return undefined;
}
