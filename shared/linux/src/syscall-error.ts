import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { koffi } from './libc.ts';

/** A system call that failed, with the fields of node:fs errors. */
export class SyscallError extends Error {
  /** `ENOENT`. */
  readonly code: string;
  /** Positive number of errno(3). */
  readonly errno: number;
  readonly syscall: string;
  /** Path or other target of the call. */
  readonly path: string | undefined;

  constructor(syscall: string, errno: number, path?: string) {
    const code = errnoName(errno);
    super(`${syscall}: ${code}${path === undefined ? '' : `: ${path}`}`);
    this.name = 'SyscallError';
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
    this.path = path;
  }
}

/** libuv, hence util.getSystemErrorName, lacks some (ECHILD), and node:os has aliases (EWOULDBLOCK): first libuv's name. */
const otherNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** Name of an errno(3) number, `E<number>` for one that Node.js has no name for. */
export function errnoName(errno: number): string {
  const name = getSystemErrorName(-errno);
  return name.startsWith('E') ? name : (otherNames.get(errno) ?? `E${errno}`);
}

/**
 * Turns the C convention (-1 and errno) into a throw and gives the result back. Call it at once: any later call may
 * overwrite errno.
 */
export function check(result: number | bigint, syscall: string, path?: string): number {
  if (result !== -1 && result !== -1n) return Number(result);
  throw new SyscallError(syscall, koffi.errno(), path);
}

/** Whether an error is a failed system call (ours or of node:fs) with one of these errno names. */
export function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? '');
}
