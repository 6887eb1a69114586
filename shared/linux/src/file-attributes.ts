import type { PathBytes } from './at-calls.ts';
import { libc } from './libc.ts';
import { check, isErrno } from './syscall-error.ts';

const cLinkat = libc.func(
  'int linkat(int olddirfd, const char *oldpath, int newdirfd, const char *newpath, int flags)',
);
const cUnlinkat = libc.func('int unlinkat(int dirfd, const char *path, int flags)');
const cRenameat2 = libc.func('renameat2', 'int', ['int', 'str', 'int', 'str', 'uint']);
const cFchmodat = libc.func('int fchmodat(int dirfd, const char *path, unsigned int mode, int flags)');
const cUtimensat = libc.func('int utimensat(int dirfd, const char *path, void *times, int flags)');
const cFutimens = libc.func('int futimens(int fd, void *times)');
const cSyncfs = libc.func('int syncfs(int fd)');
const cIoctl = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);
const cStatx = libc.func('int statx(int dirfd, const char *path, int flags, unsigned int mask, void *buffer)');
const cFsetxattr = libc.func('int fsetxattr(int fd, const char *name, void *value, size_t size, int flags)');
const cFgetxattr = libc.func('long fgetxattr(int fd, const char *name, void *value, size_t size)');
const cLsetxattr = libc.func('int lsetxattr(const char *path, const char *name, void *value, size_t size, int flags)');
const cLremovexattr = libc.func('int lremovexattr(const char *path, const char *name)');
const cLgetxattr = libc.func('long lgetxattr(const char *path, const char *name, void *value, size_t size)');
const cLlistxattr = libc.func('long llistxattr(const char *path, void *list, size_t size)');

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
const RENAME_NOREPLACE = 1;
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_SYNC_FL = 8;

/** inode(7), the type of a file in its mode. */
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

/** linkat(2): a further name for a file; a link as last component is not followed. */
export function linkat(oldDirfd: number, oldPath: string, newDirfd: number, newPath: string): void {
  check(cLinkat(oldDirfd, oldPath, newDirfd, newPath, 0), 'linkat', newPath);
}

/** unlinkat(2); `directory` removes an empty directory instead. */
export function unlinkat(dirfd: number, path: string, { directory = false } = {}): void {
  check(cUnlinkat(dirfd, path, directory ? AT_REMOVEDIR : 0), 'unlinkat', path);
}

/** renameat2(2); `replace: false` gives EEXIST when the new name is taken. */
export function renameat(oldDirfd: number, oldPath: string, newDirfd: number, newPath: string, replace = true): void {
  check(cRenameat2(oldDirfd, oldPath, newDirfd, newPath, replace ? 0 : RENAME_NOREPLACE), 'renameat2', newPath);
}

/** fchmodat(2). Follows a link as last component: call it for what is known to be none. */
export function fchmodat(dirfd: number, path: string, mode: number): void {
  check(cFchmodat(dirfd, path, mode, 0), 'fchmodat', path);
}

const times = new BigInt64Array(4);
const billion = 1_000_000_000n;

/** utimensat(2) that does not follow a link: access and modification time, nanoseconds since the Unix epoch. */
export function utimensat(dirfd: number, path: string, unixNano: bigint): void {
  fillTimes(unixNano);
  check(cUtimensat(dirfd, path, times, AT_SYMLINK_NOFOLLOW), 'utimensat', path);
}

/** futimens(3): the same for an open file. */
export function futimens(fd: number, unixNano: bigint): void {
  fillTimes(unixNano);
  check(cFutimens(fd, times), 'futimens', `fd ${fd}`);
}

function fillTimes(unixNano: bigint): void {
  const nanos = ((unixNano % billion) + billion) % billion;
  times[0] = (unixNano - nanos) / billion;
  times[1] = nanos;
  times[2] = times[0];
  times[3] = nanos;
}

/** syncfs(2): everything of the file system that an open file lies in is on disk. */
export function syncfs(fd: number): void {
  check(cSyncfs(fd), 'syncfs', `fd ${fd}`);
}

/**
 * ioctl_iflags(2), FS_SYNC_FL: what is written to an open file, or done in an open folder, is on disk when the call returns.
 * What is made in the folder later inherits it. ENOTTY or EOPNOTSUPP where the file system does not know it.
 */
export function setSynchronous(fd: number): void {
  const flags = new Int32Array(2); // the kernel's interface says long and means int
  check(cIoctl(fd, FS_IOC_GETFLAGS, flags), 'ioctl', `FS_IOC_GETFLAGS fd ${fd}`);
  if ((flags[0]! & FS_SYNC_FL) !== 0) return;
  flags[0]! |= FS_SYNC_FL;
  check(cIoctl(fd, FS_IOC_SETFLAGS, flags), 'ioctl', `FS_IOC_SETFLAGS fd ${fd}`);
}

/** What statx(2) says of a file. */
export interface FileStatus {
  /** Type and permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly links: number;
  readonly inode: bigint;
  /** Major and minor number of the device that it lies on. */
  readonly device: readonly [number, number];
  /** Major and minor number of the device that it is. */
  readonly specialDevice: readonly [number, number];
  /** Nanoseconds since the Unix epoch. */
  readonly modifiedUnixNano: bigint;
}

const statx = Buffer.alloc(256);

/** statx(2) that does not follow a link; an empty path means the open file itself. */
export function statAt(dirfd: number, path: PathBytes): FileStatus {
  const flags = AT_SYMLINK_NOFOLLOW | (path === '' ? AT_EMPTY_PATH : 0);
  check(cStatx(dirfd, path, flags, STATX_BASIC_STATS, statx), 'statx', String(path));
  return {
    links: statx.readUInt32LE(16),
    uid: statx.readUInt32LE(20),
    gid: statx.readUInt32LE(24),
    mode: statx.readUInt16LE(28),
    inode: statx.readBigUInt64LE(32),
    sizeBytes: Number(statx.readBigUInt64LE(40)),
    modifiedUnixNano: statx.readBigInt64LE(112) * billion + BigInt(statx.readUInt32LE(120)),
    specialDevice: [statx.readUInt32LE(128), statx.readUInt32LE(132)],
    device: [statx.readUInt32LE(136), statx.readUInt32LE(140)],
  };
}

/** fsetxattr(2). */
export function fsetxattr(fd: number, name: string, value: Uint8Array): void {
  check(cFsetxattr(fd, name, value, value.length, 0), 'fsetxattr', name);
}

/** fgetxattr(2); `undefined` where the file has no such attribute, or its file system none at all. */
export function fgetxattr(fd: number, name: string): Buffer | undefined {
  try {
    const value = Buffer.alloc(check(cFgetxattr(fd, name, null, 0), 'fgetxattr', name));
    const length = check(cFgetxattr(fd, name, value, value.length), 'fgetxattr', name);
    return value.subarray(0, length);
  } catch (error) {
    if (isErrno(error, 'ENODATA', 'EOPNOTSUPP')) return undefined;
    throw error;
  }
}

/**
 * lsetxattr(2) on a name in an open directory, by way of proc(5): the directory is a descriptor, the name one component.
 */
export function setxattrAt(dirfd: number, name: string, attribute: string, value: Uint8Array): void {
  check(cLsetxattr(`/proc/self/fd/${dirfd}/${name}`, attribute, value, value.length, 0), 'lsetxattr', attribute);
}

/** lremovexattr(2) on a name in an open directory. */
export function removexattrAt(dirfd: number, name: string, attribute: string): void {
  check(cLremovexattr(`/proc/self/fd/${dirfd}/${name}`, attribute), 'lremovexattr', attribute);
}

/** All extended attributes of a name in an open directory: llistxattr(2), lgetxattr(2). */
export function readXattrsAt(dirfd: number, name: PathBytes): Map<string, Buffer> {
  const folder = `/proc/self/fd/${dirfd}/`;
  const path = typeof name === 'string' ? folder + name : Buffer.concat([Buffer.from(folder), name]);
  const found = new Map<string, Buffer>();
  const size = check(cLlistxattr(path, null, 0), 'llistxattr', String(name));
  if (size === 0) return found;
  const list = Buffer.alloc(size);
  const length = check(cLlistxattr(path, list, size), 'llistxattr', String(name));
  for (const attribute of list.toString('utf8', 0, length).split('\0')) {
    if (attribute === '') continue;
    const value = Buffer.alloc(check(cLgetxattr(path, attribute, null, 0), 'lgetxattr', attribute));
    check(cLgetxattr(path, attribute, value, value.length), 'lgetxattr', attribute);
    found.set(attribute, value);
  }
  return found;
}
