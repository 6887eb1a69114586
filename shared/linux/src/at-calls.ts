import { O_CLOEXEC } from './constants.ts';
import { koffi, libc } from './libc.ts';
import { check } from './syscall-error.ts';

const cOpenat2 = libc.func('syscall', 'long', ['long', 'int', 'str', 'void *', 'size_t']);
const cOpenat = libc.func('openat', 'int', ['int', 'str', 'int', 'uint']);
const cMkdirat = libc.func('int mkdirat(int dirfd, const char *path, unsigned int mode)');
const cMknodat = libc.func('int mknodat(int dirfd, const char *path, unsigned int mode, unsigned long device)');
const cSymlinkat = libc.func('int symlinkat(const char *target, int dirfd, const char *path)');
const cReadlinkat = libc.func('long readlinkat(int dirfd, const char *path, void *buffer, size_t size)');
const cFstatfs = libc.func('int fstatfs(int fd, void *buffer)');
const cFchownat = libc.func('int fchownat(int dirfd, const char *path, int uid, int gid, int flags)');

const SYS_openat2 = 437;
const EAGAIN = 11;
const AT_SYMLINK_NOFOLLOW = 0x100;

/** A path for a system call: text, which goes as UTF-8, or bytes that need not be UTF-8, with a zero byte behind them. */
export type PathBytes = string | Uint8Array;

/** The working directory, for a `dirfd`. */
export const AT_FDCWD = -100;

/** openat2(2), `resolve`. */
export const RESOLVE_NO_XDEV = 0x01;
export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;

const how = new BigUint64Array(3);

/** How to open, see openat2(2). */
export interface OpenHow {
  readonly flags: number;
  readonly mode?: number;
  readonly resolve?: number;
}

/** So often is tried what a rename or a mount anywhere on the host came between. */
const raceTries = 1_000;

/**
 * openat2(2), close-on-exec: opens below `dirfd` under the rules of `resolve`. ELOOP, EXDEV when a rule is broken. EAGAIN,
 * a `..` within a root while anything on the host was renamed or mounted, is tried again, as the manual page asks for.
 */
export function openat2(dirfd: number, path: string, { flags, mode = 0, resolve = 0 }: OpenHow): number {
  how[0] = BigInt(flags | O_CLOEXEC);
  how[1] = BigInt(mode);
  how[2] = BigInt(resolve);
  const open = () => cOpenat2(SYS_openat2, dirfd, path, how, how.byteLength);
  let fd = open();
  if ((resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) !== 0) {
    for (let tries = 1; fd === -1 && tries < raceTries && koffi.errno() === EAGAIN; tries++) fd = open();
  }
  return check(fd, 'openat2', path);
}

/** openat(2), close-on-exec. */
export function openat(dirfd: number, path: PathBytes, flags: number, mode = 0): number {
  return check(cOpenat(dirfd, path, flags | O_CLOEXEC, mode), 'openat', String(path));
}

/** mkdirat(2). EEXIST. */
export function mkdirat(dirfd: number, path: string, mode: number): void {
  check(cMkdirat(dirfd, path, mode), 'mkdirat', path);
}

/** mknodat(2): `mode` with the type (S_IFCHR, …), `device` from {@link makeDevice}. */
export function mknodat(dirfd: number, path: string, mode: number, device = 0n): void {
  check(cMknodat(dirfd, path, mode, device), 'mknodat', path);
}

/** symlinkat(2): `path` below `dirfd` becomes a link that says `target`. */
export function symlinkat(target: string, dirfd: number, path: string): void {
  check(cSymlinkat(target, dirfd, path), 'symlinkat', path);
}

/** readlinkat(2); with an empty path the link that was opened with O_PATH|O_NOFOLLOW. */
export function readlinkat(dirfd: number, path: string): string {
  return readlinkBytesAt(dirfd, path).toString();
}

/** The same as bytes: a link may say what is no UTF-8. */
export function readlinkBytesAt(dirfd: number, path: PathBytes): Buffer {
  const buffer = Buffer.allocUnsafe(4096);
  return buffer.subarray(0, check(cReadlinkat(dirfd, path, buffer, buffer.length), 'readlinkat', String(path)));
}

/** Magic number of the file system that an open file lies in: statfs(2), f_type. */
export function fileSystemType(fd: number): number {
  const buffer = Buffer.alloc(128);
  check(cFstatfs(fd, buffer), 'fstatfs', `fd ${fd}`);
  return Number(buffer.readBigUInt64LE(0));
}

/** makedev(3) as glibc packs it: 12 bits of major above 8 low bits of minor, the rest further up. */
export function makeDevice(major: number, minor: number): bigint {
  const [high, low] = [BigInt(major), BigInt(minor)];
  return (low & 0xffn) | ((high & 0xfffn) << 8n) | ((low & ~0xffn) << 12n) | ((high & ~0xfffn) << 32n);
}

/** major(3) and minor(3): the inverse of {@link makeDevice}. */
export function splitDevice(device: bigint): [major: number, minor: number] {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & ~0xffn & 0xffffffffn);
  return [Number(major), Number(minor)];
}

/** fchownat(2) that does not follow a link; -1 leaves an id as it is. */
export function fchownat(dirfd: number, path: string, uid: number, gid: number): void {
  check(cFchownat(dirfd, path, uid, gid, AT_SYMLINK_NOFOLLOW), 'fchownat', path);
}
