import { byArchitecture, O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { koffi, libc } from './libc.ts';
import { check, SyscallError } from './syscall-error.ts';

const cPipe2 = libc.func('int pipe2(void *fds, int flags)');
const cClose = libc.func('int close(int fd)');
const cCloseRange = libc.func('close_range', 'int', ['uint', 'uint', 'int']);
const cDup3 = libc.func('int dup3(int oldfd, int newfd, int flags)');
const cFcntl = libc.func('int fcntl(int fd, int command, long argument)');
const cRead = libc.func('long read(int fd, void *buffer, size_t count)');
const cWrite = libc.func('long write(int fd, void *buffer, size_t count)');
const cSplice = libc.func(
  'long splice(int from, void *fromOffset, int to, void *toOffset, size_t length, unsigned int flags)',
);
const cEventfd = libc.func('int eventfd(unsigned int initial, int flags)');
const cMemfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)');
const cPoll = libc.func('int poll(void *fds, unsigned long count, int timeoutMs)');

const cKcmp = libc.func('syscall', 'long', ['long', 'long', 'long', 'long', 'ulong', 'ulong']);
const cGetpid = libc.func('int getpid()');

const SYS_kcmp = byArchitecture(312, 272);
const KCMP_FILE = 0;
const EINTR = 4;
const EAGAIN = 11;
const F_DUPFD_CLOEXEC = 1030;
const F_GETFD = 1;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;
const FD_CLOEXEC = 1;
const MFD_CLOEXEC = 1;
const SPLICE_F_NONBLOCK = 2;
const CLOSE_RANGE_CLOEXEC = 4;

const pair = new Int32Array(2);

/** pipe2(2). Close-on-exec always; `flags` adds O_NONBLOCK. */
export function pipe2(flags = 0): { readonly readFd: number; readonly writeFd: number } {
  check(cPipe2(pair, flags | O_CLOEXEC), 'pipe2');
  return { readFd: pair[0]!, writeFd: pair[1]! };
}

/** Whether two descriptors of this process are copies of one: kcmp(2). False, too, where the kernel does not tell. */
export function isSameOpenFile(fd: number, other: number): boolean {
  const pid = cGetpid();
  return Number(cKcmp(SYS_kcmp, pid, pid, KCMP_FILE, fd, other)) === 0;
}

/** close(2). A descriptor that is not open is an error (EBADF): it would be somebody else's bug in disguise. */
export function closeFd(fd: number): void {
  check(cClose(fd), 'close', `fd ${fd}`);
}

/** close_range(2): closes the descriptors from `first` to `last`, both included. */
export function closeRange(first: number, last = 0xffffffff): void {
  if (first <= last) check(cCloseRange(first, last, 0), 'close_range');
}

/** close_range(2), CLOSE_RANGE_CLOEXEC: all descriptors from `first` on close at the next execve(2). */
export function markCloseOnExec(first: number): void {
  check(cCloseRange(first, 0xffffffff, CLOSE_RANGE_CLOEXEC), 'close_range');
}

/** Closes all descriptors from 3 on but these. For a fork that must not keep what its parent holds. */
export function closeAllBut(kept: readonly number[]): void {
  let next = 3;
  for (const fd of [...new Set(kept)].filter((fd) => fd >= 3).sort((a, b) => a - b)) {
    closeRange(next, fd - 1);
    next = fd + 1;
  }
  closeRange(next);
}

/** dup3(2): makes `newFd` a copy of `oldFd`. Close-on-exec unless told otherwise. */
export function dup3(oldFd: number, newFd: number, { closeOnExec = true } = {}): void {
  check(cDup3(oldFd, newFd, closeOnExec ? O_CLOEXEC : 0), 'dup3', `fd ${oldFd}`);
}

/** fcntl(2) F_DUPFD_CLOEXEC: a copy at the lowest free number that is not below `atLeast`. */
export function duplicateFd(fd: number, atLeast = 3): number {
  return check(cFcntl(fd, F_DUPFD_CLOEXEC, atLeast), 'fcntl', `fd ${fd}`);
}

/** Status flags (O_NONBLOCK, O_APPEND, access mode) of the open file: shared by all its copies. */
export function getStatusFlags(fd: number): number {
  return check(cFcntl(fd, F_GETFL, 0), 'fcntl', `fd ${fd}`);
}

/** fcntl(2) F_SETFL. */
export function setStatusFlags(fd: number, flags: number): void {
  check(cFcntl(fd, F_SETFL, flags), 'fcntl', `fd ${fd}`);
}

/** Sets or clears O_NONBLOCK on the open file (not only on this descriptor of it). */
export function setNonBlocking(fd: number, on: boolean): void {
  const flags = getStatusFlags(fd);
  setStatusFlags(fd, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/** Whether the descriptor closes at execve(2). Throws EBADF when it is not open. */
export function getCloseOnExec(fd: number): boolean {
  return (check(cFcntl(fd, F_GETFD, 0), 'fcntl', `fd ${fd}`) & FD_CLOEXEC) !== 0;
}

/** fcntl(2) F_SETFD. Node.js sets it on descriptors 0 to 2: clear it before an execve(2) that must inherit them. */
export function setCloseOnExec(fd: number, on: boolean): void {
  check(cFcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0), 'fcntl', `fd ${fd}`);
}

/** Capacity of a pipe or FIFO in bytes. */
export function getPipeSize(fd: number): number {
  return check(cFcntl(fd, F_GETPIPE_SZ, 0), 'fcntl', `fd ${fd}`);
}

/** Sets the capacity and returns what the kernel made of it. EPERM above /proc/sys/fs/pipe-max-size without the capability. */
export function setPipeSize(fd: number, sizeBytes: number): number {
  return check(cFcntl(fd, F_SETPIPE_SZ, sizeBytes), 'fcntl', `fd ${fd}`);
}

/** read(2) into `buffer`; 0 at the end. `undefined` when a non-blocking descriptor has nothing now. */
export function readFd(fd: number, buffer: Uint8Array): number | undefined {
  return transfer(() => cRead(fd, buffer, buffer.byteLength), 'read', fd);
}

/** write(2); may write less than all. `undefined` when a non-blocking descriptor takes nothing now. */
export function writeFd(fd: number, data: Uint8Array): number | undefined {
  return transfer(() => cWrite(fd, data, data.byteLength), 'write', fd);
}

const spliceOffset = new BigInt64Array(1);

/**
 * splice(2): moves at most `length` bytes between descriptors one of which is a pipe, without their passing through this
 * process: what has left the one is in the other, whatever becomes of the process meanwhile. `toOffset`: the place in a
 * file. 0 at the end, `undefined` when there is nothing now, or no room.
 */
export function splice(from: number, to: number, length: number, toOffset?: number): number | undefined {
  if (toOffset !== undefined) spliceOffset[0] = BigInt(toOffset);
  const offset = toOffset === undefined ? null : spliceOffset;
  return transfer(() => cSplice(from, null, to, offset, length, SPLICE_F_NONBLOCK), 'splice', from);
}

function transfer(call: () => number | bigint, syscall: string, fd: number): number | undefined {
  for (;;) {
    const result = Number(call());
    if (result !== -1) return result;
    const errno = koffi.errno();
    if (errno === EAGAIN) return undefined;
    if (errno !== EINTR) throw new SyscallError(syscall, errno, `fd ${fd}`);
  }
}

/** eventfd(2), close-on-exec and non-blocking: a counter of 64 bits behind a descriptor. */
export function eventfd(initial = 0): number {
  return check(cEventfd(initial, O_CLOEXEC | O_NONBLOCK), 'eventfd');
}

/** memfd_create(2), close-on-exec: a file without a name. `name` is for /proc. */
export function createMemoryFile(name: string): number {
  return check(cMemfdCreate(name, MFD_CLOEXEC), 'memfd_create', name);
}

/** What poll(2) watches: POLLIN and POLLOUT of one descriptor. */
export interface PollFd {
  readonly fd: number;
  readonly events: number;
}

/**
 * poll(2): waits until a descriptor is ready and answers what each is ready for, in the order asked (POLLERR and POLLHUP
 * come unasked). All zero after `timeoutMs`; -1 waits for ever. Blocks the thread: for processes without an event loop.
 */
export function poll(watched: readonly PollFd[], timeoutMs: number): number[] {
  const entries = new DataView(new ArrayBuffer(watched.length * 8));
  watched.forEach(({ fd, events }, i) => {
    entries.setInt32(i * 8, fd, true);
    entries.setInt16(i * 8 + 4, events, true);
  });
  const deadline = performance.now() + timeoutMs;
  for (let left = timeoutMs; ; left = Math.max(0, Math.ceil(deadline - performance.now()))) {
    if (cPoll(entries, watched.length, timeoutMs < 0 ? -1 : left) !== -1) break;
    const errno = koffi.errno();
    if (errno !== EINTR) throw new SyscallError('poll', errno);
  }
  return watched.map((_, i) => entries.getUint16(i * 8 + 6, true));
}
