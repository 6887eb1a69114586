import { closeSync, openSync } from 'node:fs';
import { koffi, libc } from './libc.ts';
import { errnoName, SyscallError } from './syscall-error.ts';

const flock = libc.func('int flock(int fd, int operation)');
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes the exclusive lock of a file (made when missing), or gives undefined when somebody else has it: flock(2). It is
 * held until the descriptor is closed, so the kernel frees it when the process ends in whatever way. Node.js opens
 * descriptors close-on-exec: a program that this process starts does not hold the lock.
 */
export function tryFileLock(path: string): number | undefined {
  const fd = openSync(path, 'a', 0o600);
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return fd;
  const errno = koffi.errno();
  closeSync(fd);
  if (errnoName(errno) === 'EAGAIN') return undefined;
  throw new SyscallError('flock', errno, path);
}
