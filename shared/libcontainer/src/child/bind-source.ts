import { constants, fstatSync, openSync } from 'node:fs';
import {
  CLONE_NEWNS,
  closeFd,
  isErrno,
  O_PATH,
  openat2,
  openTree,
  openTreeOf,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  setns,
} from '@flotilla/linux';
import { refused } from './attach.ts';

const ofProcess = /^\/proc\/(\d+)\/root(\/.+)$/;

/**
 * A detached copy of what is to be bound. The kernel copies only mounts of one's own mount namespace: for a source in
 * another's (`/proc/<pid>/root/…`, as a container's /dev/shm is) this process goes there and comes back. Links on that
 * path are refused: they are the other container's to set.
 */
export function openBindSource(
  source: string,
  { recursive, subpath = '' }: { readonly recursive: boolean; readonly subpath?: string },
): number {
  if (subpath !== '') return openWithin(source, subpath, recursive);
  const [, pid, path] = ofProcess.exec(source) ?? [];
  if (pid === undefined || path === undefined) return openTree(source, { recursive });
  const own = openSync('/proc/self/ns/mnt', 'r');
  const other = openSync(`/proc/${pid}/ns/mnt`, 'r');
  try {
    if (fstatSync(own).ino === fstatSync(other).ino) return openTree(source, { recursive });
    setns(other, CLONE_NEWNS);
    try {
      return copyWithoutLinks(path, source, recursive);
    } finally {
      setns(own, CLONE_NEWNS);
    }
  } finally {
    closeFd(own);
    closeFd(other);
  }
}

/**
 * Something in a folder that containers write to: they may be changing what its path leads to right now. The kernel resolves
 * it below the open folder, and what it found is what is bound. Links may lead anywhere in the folder, not out of it.
 */
function openWithin(source: string, subpath: string, recursive: boolean): number {
  const folder = openSync(source, O_PATH | constants.O_DIRECTORY);
  try {
    const fd = openat2(folder, subpath, { flags: O_PATH, resolve: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS });
    try {
      return openTreeOf(fd, { recursive });
    } finally {
      closeFd(fd);
    }
  } catch (error) {
    if (isErrno(error, 'ELOOP', 'EXDEV')) throw refused(`${source}/${subpath}`, 'it leads out of the volume');
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) throw refused(`${source}/${subpath}`, 'there is nothing of that name');
    throw error;
  } finally {
    closeFd(folder);
  }
}

/** The working directory is the root there, as setns(2) leaves it. */
function copyWithoutLinks(path: string, source: string, recursive: boolean): number {
  const root = openSync('/', O_PATH);
  try {
    const fd = openat2(root, path.slice(1), { flags: O_PATH, resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS });
    try {
      return openTreeOf(fd, { recursive });
    } finally {
      closeFd(fd);
    }
  } catch (error) {
    if (isErrno(error, 'ELOOP', 'EXDEV')) throw refused(source, 'it leads through a link');
    throw error;
  } finally {
    closeFd(root);
  }
}
