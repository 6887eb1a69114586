import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProcess, isErrno, isSameProcess } from '@flotilla/linux';
import type { ShimFile } from '../shim/shim-file.ts';

/** What `shim.json` says; `undefined` when no shim has made a container in this folder. */
export function findShimRecord(shimDir: string): ShimFile | undefined {
  try {
    return JSON.parse(readFileSync(join(shimDir, 'shim.json'), 'utf8')) as ShimFile;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** Whether the shim of the record lives. */
export function isShimAlive({ pid, startTime }: ShimFile): boolean {
  return isSameProcess(pid, startTime);
}

/**
 * Whether the container's init outlives its shim. The record has no start time of init's: it is younger than the shim
 * that made it, which a process of an earlier boot or with a reused pid need not be.
 */
export function isInitAlive({ initPid, startTime }: ShimFile): boolean {
  const init = findProcess(initPid);
  return init !== undefined && init.state !== 'Z' && init.startTime >= startTime;
}
