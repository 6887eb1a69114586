import { AT_FDCWD } from './at-calls.ts';
import { byArchitecture, O_CLOEXEC } from './constants.ts';
import { closeFd } from './descriptors.ts';
import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

// The mount calls of Linux 5.2 to 5.12 have no wrappers in every glibc; their numbers are the same on all machines.
const cMount = libc.func('mount', 'int', ['str', 'str', 'str', 'ulong', 'str']);
const cUmount2 = libc.func('int umount2(const char *target, int flags)');
const cPivotRoot = libc.func('syscall', 'long', ['long', 'str', 'str']);
const cFchdir = libc.func('int fchdir(int fd)');
const cChdir = libc.func('int chdir(const char *path)');
const cChroot = libc.func('int chroot(const char *path)');
const cGetcwd = libc.func('getcwd', 'str', ['void *', 'size_t']);
const cSethostname = libc.func('int sethostname(const char *name, size_t length)');
const cSetdomainname = libc.func('int setdomainname(const char *name, size_t length)');
const cOpenTree = libc.func('syscall', 'long', ['long', 'int', 'str', 'uint']);
const cMoveMount = libc.func('syscall', 'long', ['long', 'int', 'str', 'int', 'str', 'uint']);
const cFsopen = libc.func('syscall', 'long', ['long', 'str', 'uint']);
const cFsconfig = libc.func('syscall', 'long', ['long', 'int', 'uint', 'str', 'str', 'int']);
const cFsmount = libc.func('syscall', 'long', ['long', 'int', 'uint', 'uint']);
const cMountSetattr = libc.func('syscall', 'long', ['long', 'int', 'str', 'uint', 'void *', 'size_t']);

const SYS_pivot_root = byArchitecture(155, 41);
const SYS_open_tree = 428;
const SYS_move_mount = 429;
const SYS_fsopen = 430;
const SYS_fsconfig = 431;
const SYS_fsmount = 432;
const SYS_mount_setattr = 442;

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const MOVE_MOUNT_F_EMPTY_PATH = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH = 0x40;
const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const MNT_DETACH = 2;

/** mount(2), flags. */
export const MS_RDONLY = 0x1;
export const MS_NOSUID = 0x2;
export const MS_NODEV = 0x4;
export const MS_NOEXEC = 0x8;
export const MS_BIND = 0x1000;
export const MS_REC = 0x4000;
export const MS_UNBINDABLE = 0x20000;
export const MS_PRIVATE = 0x40000;
export const MS_SLAVE = 0x80000;
export const MS_SHARED = 0x100000;

/** mount_setattr(2), attributes. */
export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NOSUID = 0x2;
export const MOUNT_ATTR_NODEV = 0x4;
export const MOUNT_ATTR_NOEXEC = 0x8;
/** The field of the three that follow: clear it to set one of them (relatime is 0). */
export const MOUNT_ATTR_ATIME = 0x70;
export const MOUNT_ATTR_NOATIME = 0x10;
export const MOUNT_ATTR_STRICTATIME = 0x20;
export const MOUNT_ATTR_NODIRATIME = 0x80;
export const MOUNT_ATTR_NOSYMFOLLOW = 0x200000;

/** For mount(2). */
export interface MountRequest {
  readonly source?: string;
  readonly target: string;
  readonly type?: string;
  readonly flags?: number;
  readonly data?: string;
}

/** mount(2). */
export function mount({ source, target, type, flags = 0, data }: MountRequest): void {
  check(cMount(source ?? null, target, type ?? null, flags, data ?? null), 'mount', target);
}

/** umount2(2); `detach` takes it out of sight at once and lets go when nobody uses it any more. */
export function umount(target: string, { detach = false } = {}): void {
  check(cUmount2(target, detach ? MNT_DETACH : 0), 'umount2', target);
}

/** pivot_root(2). */
export function pivotRoot(newRoot: string, putOld: string): void {
  check(cPivotRoot(SYS_pivot_root, newRoot, putOld), 'pivot_root', newRoot);
}

/** fchdir(2). Behind Node's back: process.cwd() may go on saying what it said. */
export function changeDirectoryTo(fd: number): void {
  check(cFchdir(fd), 'fchdir', `fd ${fd}`);
}

/** chdir(2). Behind Node's back. */
export function changeDirectory(path: string): void {
  check(cChdir(path), 'chdir', path);
}

/** chroot(2). The working directory stays where it is. */
export function chroot(path: string): void {
  check(cChroot(path), 'chroot', path);
}

const cwdBuffer = Buffer.allocUnsafeSlow(4096);

/** getcwd(2) asked anew. `undefined` when the directory is outside the root, deleted or unreachable. */
export function findWorkingDirectory(): string | undefined {
  const path: string | null = cGetcwd(cwdBuffer, cwdBuffer.length);
  return path?.startsWith('/') ? path : undefined;
}

/** sethostname(2), of the calling process's uts namespace. */
export function setHostname(name: string): void {
  check(cSethostname(name, Buffer.byteLength(name)), 'sethostname', name);
}

/** setdomainname(2). */
export function setDomainname(name: string): void {
  check(cSetdomainname(name, Buffer.byteLength(name)), 'setdomainname', name);
}

/** open_tree(2): a detached copy of the mount at a path, to be attached with {@link moveMount}. Links are followed. */
export function openTree(path: string, { recursive = false, dirfd = AT_FDCWD } = {}): number {
  const flags = OPEN_TREE_CLONE | O_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
  return check(cOpenTree(SYS_open_tree, dirfd, path, flags), 'open_tree', path);
}

/** open_tree(2) of an open file or directory. */
export function openTreeOf(fd: number, { recursive = false } = {}): number {
  const flags = OPEN_TREE_CLONE | O_CLOEXEC | AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  return check(cOpenTree(SYS_open_tree, fd, '', flags), 'open_tree', `fd ${fd}`);
}

/** move_mount(2): attaches a detached mount to an open file or directory. `target` is for the error. */
export function moveMount(mountFd: number, targetFd: number, target?: string): void {
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  check(cMoveMount(SYS_move_mount, mountFd, '', targetFd, '', flags), 'move_mount', target);
}

/** A file system to make: `options` as `key=value` or `key`. */
export interface FileSystemRequest {
  readonly type: string;
  readonly source?: string;
  readonly options?: readonly string[];
  /** MOUNT_ATTR_… */
  readonly attributes?: number;
}

/** fsopen(2), fsconfig(2), fsmount(2): a new file system as a detached mount. */
export function openFileSystem({ type, source, options = [], attributes = 0 }: FileSystemRequest): number {
  const contextFd = check(cFsopen(SYS_fsopen, type, FSOPEN_CLOEXEC), 'fsopen', type);
  try {
    if (source !== undefined) configure(contextFd, FSCONFIG_SET_STRING, 'source', source);
    for (const option of options) {
      const equals = option.indexOf('=');
      if (equals === -1) configure(contextFd, FSCONFIG_SET_FLAG, option, null);
      else configure(contextFd, FSCONFIG_SET_STRING, option.slice(0, equals), option.slice(equals + 1));
    }
    configure(contextFd, FSCONFIG_CMD_CREATE, null, null, type);
    return check(cFsmount(SYS_fsmount, contextFd, FSMOUNT_CLOEXEC, attributes), 'fsmount', type);
  } finally {
    closeFd(contextFd);
  }
}

function configure(fd: number, command: number, key: string | null, value: string | null, what?: string): void {
  check(
    cFsconfig(SYS_fsconfig, fd, command, key, value, 0),
    'fsconfig',
    what ?? `${key}${value === null ? '' : `=${value}`}`,
  );
}

/** What mount_setattr(2) changes. */
export interface MountAttributes {
  /** MOUNT_ATTR_… to set. */
  readonly set?: number;
  readonly clear?: number;
  /** MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE. */
  readonly propagation?: number;
  readonly recursive?: boolean;
}

const attributesBuffer = new BigUint64Array(4);

/** mount_setattr(2) of the mount that an open file or a detached mount stands for. */
export function setMountAttributes(
  fd: number,
  { set = 0, clear = 0, propagation = 0, recursive = false }: MountAttributes,
): void {
  attributesBuffer[0] = BigInt(set);
  attributesBuffer[1] = BigInt(clear);
  attributesBuffer[2] = BigInt(propagation);
  const flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | (recursive ? AT_RECURSIVE : 0);
  const result = cMountSetattr(SYS_mount_setattr, fd, '', flags, attributesBuffer, attributesBuffer.byteLength);
  check(result, 'mount_setattr', `fd ${fd}`);
}
