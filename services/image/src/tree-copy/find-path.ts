import { closeSync, constants } from 'node:fs';
import {
  type FileStatus,
  fileSystemType,
  isErrno,
  O_PATH,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  readlinkat,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  statAt,
} from '@flotilla/linux';
import type { ContainerPath } from './container-path.ts';
import { notADirectory, pathNotFound } from './copy-error.ts';
import { ownFd } from './open-tree.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;
export const inRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
const mostLinks = 40;
/** proc, sysfs, cgroup, cgroup2, debugfs, tracefs, devpts, mqueue, securityfs, bpf, pstore, efivarfs: statfs(2). */
const kernelFileSystems = new Set([
  0x9fa0, 0x62656572, 0x27e0eb, 0x63677270, 0x64626720, 0x74726163, 0x1cd1, 0x19800202, 0x73636673, 0xcafe4a11,
  0x6165676c, 0xde5e81e4,
]);

/** What a path is, as Docker tells it. */
export interface PathStat {
  readonly name: string;
  readonly sizeBytes: number;
  readonly mode: number;
  readonly modifiedUnixNano: bigint;
  readonly linkTarget: string;
}

/** A path that was found: an open folder; or the open folder that it is in, where its own name is looked up. */
export interface FoundPath extends Disposable {
  readonly stat: PathStat;
  readonly status: FileStatus;
  readonly folder: number | undefined;
  readonly parent: number | undefined;
}

/** The kernel's own files are no files of the container's: Docker copies none, and some act when they are read or written. */
export function isKernels(fd: number): boolean {
  return kernelFileSystems.has(fileSystemType(fd));
}

/** Finds a path in a container's tree. PATH_NOT_FOUND, NOT_A_DIRECTORY. */
export function findPath(root: number, path: ContainerPath, key: string): FoundPath {
  using stack = new DisposableStack();
  const parts = path.isFolder ? path.parts : path.parts.slice(0, -1);
  const fd = stack.use(ownFd(openFolder(root, parts, path, key))).fd;
  if (isKernels(fd)) throw pathNotFound(path.text, key);
  const name = path.parts.at(-1) ?? '.';
  const status = path.isFolder ? statAt(fd, '') : statIn(fd, name, path, key);
  const isFolder = (status.mode & S_IFMT) === S_IFDIR;
  if (isFolder && !path.isFolder) {
    // Opened by its name once: what is read is what was looked at.
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    const folder = stack.use(ownFd(openOrRefuse(fd, name, flags, path, key))).fd;
    if (isKernels(folder)) throw pathNotFound(path.text, key);
    return found(stack, root, { path, status: statAt(folder, ''), folder, parent: undefined });
  }
  return found(stack, root, {
    path,
    status,
    ...(isFolder ? { folder: fd, parent: undefined } : { folder: undefined, parent: fd }),
  });
}

function found(
  stack: DisposableStack,
  root: number,
  { path, status, folder, parent }: Pick<FoundPath, 'status' | 'folder' | 'parent'> & { readonly path: ContainerPath },
): FoundPath {
  const isLink = (status.mode & S_IFMT) === S_IFLNK;
  const { mode, sizeBytes, modifiedUnixNano } = status;
  const linkTarget = isLink ? followLinks(root, path.parts) : '';
  const moved = stack.move();
  return {
    stat: { name: path.name, mode, sizeBytes, modifiedUnixNano, linkTarget },
    status,
    folder,
    parent,
    [Symbol.dispose]: () => moved.dispose(),
  };
}

/** Opens a folder within the root for reading, links followed. */
export function openFolder(root: number, parts: readonly string[], path: ContainerPath, key: string): number {
  return openOrRefuse(root, parts.length === 0 ? '.' : parts.join('/'), O_RDONLY | O_DIRECTORY, path, key);
}

function openOrRefuse(dirfd: number, at: string, flags: number, path: ContainerPath, key: string): number {
  try {
    return openat2(dirfd, at, { flags, resolve: inRoot });
  } catch (error) {
    if (isErrno(error, 'ENOTDIR') && path.isFolder) throw notADirectory(`${path.text}: not a directory`, path.text);
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG')) throw pathNotFound(path.text, key);
    throw error;
  }
}

function statIn(fd: number, name: string, path: ContainerPath, key: string): FileStatus {
  try {
    return statAt(fd, name);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENAMETOOLONG')) throw pathNotFound(path.text, key);
    throw error;
  }
}

/** Where a link comes to, as text: followed as far as something is there. For people and clients: nothing is opened by it. */
function followLinks(root: number, parts: readonly string[]): string {
  const done: string[] = [];
  const left = [...parts].reverse();
  for (let links = 0; left.length > 0; ) {
    const part = left.pop()!;
    if (part === '.' || part === '') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const target = links < mostLinks ? findLink(root, [...done, part].join('/')) : undefined;
    if (target === undefined) {
      done.push(part);
      continue;
    }
    links++;
    if (target.startsWith('/')) done.length = 0;
    left.push(...target.split('/').reverse());
  }
  return `/${done.join('/')}`;
}

function findLink(root: number, path: string): string | undefined {
  let fd: number;
  try {
    fd = openat2(root, path, { flags: O_PATH | O_NOFOLLOW, resolve: inRoot });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG')) return undefined;
    throw error;
  }
  try {
    return (statAt(fd, '').mode & S_IFMT) === S_IFLNK ? readlinkat(fd, '') : undefined;
  } finally {
    closeSync(fd);
  }
}
