import { closeSync, constants, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileSystemType } from './at-calls.ts';
import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

// linux/btrfs.h; what btrfs(8) does for `subvolume create`, `snapshot` and `delete`.
const cIoctl = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);

const BTRFS_SUPER_MAGIC = 0x9123683e;
const BTRFS_IOC_SUBVOL_CREATE = 0x5000940e;
const BTRFS_IOC_SNAP_DESTROY = 0x5000940f;
const BTRFS_IOC_SNAP_CREATE_V2 = 0x50009417;
/** Inode of every subvolume's root. */
const BTRFS_FIRST_FREE_OBJECTID = 256;
const argumentBytes = 4096;
/** btrfs_ioctl_vol_args: an s64 before the name; _v2: s64, u64, u64, u64[4]. */
const nameAt = 8;
const nameAtV2 = 56;

/** Whether a folder lies on btrfs. */
export function isBtrfs(folder: string): boolean {
  return withFolder(folder, (fd) => fileSystemType(fd) === BTRFS_SUPER_MAGIC);
}

/** Makes an empty subvolume; its mode is 0777 less the umask. EEXIST, ENOTTY elsewhere than on btrfs. */
export function createSubvolume(path: string): void {
  const request = Buffer.alloc(argumentBytes);
  request.write(basename(path), nameAt);
  withFolder(dirname(path), (fd) => check(cIoctl(fd, BTRFS_IOC_SUBVOL_CREATE, request), 'ioctl', path));
}

/** Makes a writable snapshot of a subvolume, all of it at once; subvolumes within it become empty folders. */
export function snapshotSubvolume(source: string, path: string): void {
  const request = Buffer.alloc(argumentBytes);
  request.write(basename(path), nameAtV2);
  withFolder(source, (sourceFd) => {
    request.writeBigInt64LE(BigInt(sourceFd), 0);
    withFolder(dirname(path), (fd) => check(cIoctl(fd, BTRFS_IOC_SNAP_CREATE_V2, request), 'ioctl', path));
  });
}

/** Removes a subvolume with all files in it. ENOTEMPTY when there are subvolumes in it. */
export function removeSubvolume(path: string): void {
  const request = Buffer.alloc(argumentBytes);
  request.write(basename(path), nameAt);
  withFolder(dirname(path), (fd) => check(cIoctl(fd, BTRFS_IOC_SNAP_DESTROY, request), 'ioctl', path));
}

/** The inode number says whether a folder of a btrfs is the root of a subvolume. */
export const subvolumeInode = BTRFS_FIRST_FREE_OBJECTID;

function withFolder<T>(path: string, work: (fd: number) => T): T {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}
