import { closeSync, constants, readdirSync } from 'node:fs';
import { type FileStatus, isErrno, openat, S_IFDIR, S_IFMT, statAt } from '@flotilla/linux';
import { type BytePath, forSyscall } from './byte-path.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;

/** Names in an open folder, in the order of their bytes. */
export function namesIn(fd: number): BytePath[] {
  const names = readdirSync(`/proc/self/fd/${fd}`, { encoding: 'buffer' });
  return names.map((name) => name.toString('latin1')).sort();
}

/** What a name in an open folder is; undefined when there is none. */
export function findStatus(fd: number | undefined, name: BytePath): FileStatus | undefined {
  if (fd === undefined) return undefined;
  try {
    return statAt(fd, forSyscall(name));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

export function isFolder(status: FileStatus | undefined): boolean {
  return status !== undefined && (status.mode & S_IFMT) === S_IFDIR;
}

/** Opens a folder in another; undefined when it is none, or is one no longer. To be disposed. */
export function findFolder(fd: number | undefined, name: BytePath): OpenFolder | undefined {
  if (fd === undefined) return undefined;
  try {
    return new OpenFolder(openat(fd, forSyscall(name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
    throw error;
  }
}

export class OpenFolder implements Disposable {
  readonly fd: number;

  constructor(fd: number) {
    this.fd = fd;
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}
