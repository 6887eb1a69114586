import { closeSync, constants, readdirSync } from 'node:fs';
import { FlotillaError } from '@flotilla/errors';
import { type FileStatus, isErrno, openat, readXattrsAt, S_IFDIR, S_IFMT, statAt } from '@flotilla/linux';
import { type BytePath, forPeople, forSyscall } from './byte-path.ts';

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

/** Attributes of a name in an open folder; none when it has gone since it was looked at. */
export function findXattrs(fd: number, name: BytePath): ReadonlyMap<string, Buffer> {
  try {
    return readXattrsAt(fd, forSyscall(name));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return new Map();
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

/** Each level takes descriptors and a frame of the stack, and no path that a layer can have goes deeper. */
const mostLevels = 2_048;

/** FAILED_PRECONDITION / TREE_TOO_DEEP: a container can make a tree as deep as it likes. */
export function checkDepth(path: BytePath): void {
  let levels = 1;
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) levels++;
  if (levels <= mostLevels) return;
  const shown = `${forPeople(path).slice(0, 64)}…`;
  throw new FlotillaError('failed_precondition', `/${shown} goes deeper than ${mostLevels} folders`, {
    reason: 'TREE_TOO_DEEP',
    metadata: { path: `/${shown}` },
  });
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
