import { type ErrorCode, FlotillaError } from '@flotilla/errors';
import { SyscallError } from '@flotilla/linux';

/** What crosses from the child to its parent. */
export interface ErrorMessage {
  readonly code: ErrorCode;
  readonly message: string;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Calls that make a file: to them ENOSPC says that the disk is full, while to unshare(2) or a cgroup it says other things. */
const fileMakers = ['openat2', 'mkdirat', 'mknodat', 'symlinkat', 'linkat'];

/** A failed step of the set-up: names the system call, its target and what was being done. RESOURCE_EXHAUSTED / DISK_FULL. */
export function setupError(doing: string, cause: unknown): FlotillaError {
  if (cause instanceof FlotillaError) return cause;
  const { syscall = '', path = '', code = '' } = fields(cause);
  const message = `cannot ${doing}: ${cause instanceof Error ? cause.message : String(cause)}`;
  const metadata = { doing, syscall, target: path, errno: code };
  if ((code === 'ENOSPC' || code === 'EDQUOT') && fileMakers.includes(syscall)) return diskFull(doing, metadata, cause);
  return new FlotillaError('internal', message, { reason: 'CONTAINER_SETUP_FAILED', metadata, cause });
}

/** RESOURCE_EXHAUSTED / DISK_FULL. */
export function diskFull(
  doing: string,
  metadata: Readonly<Record<string, string>> = { doing },
  cause?: unknown,
): FlotillaError {
  const message = `cannot ${doing}: the disk is full`;
  return new FlotillaError('resource_exhausted', message, { reason: 'DISK_FULL', metadata, cause });
}

/** Ours and node:fs errors have the same fields. */
function fields(error: unknown): { syscall?: string; path?: string; code?: string } {
  if (error instanceof SyscallError) return { syscall: error.syscall, path: error.path ?? '', code: error.code };
  if (!(error instanceof Error)) return {};
  const { syscall, path, code } = error as NodeJS.ErrnoException;
  return { syscall: syscall ?? '', path: path ?? '', code: code ?? '' };
}

/** Runs one step; a failure says which. */
export function step<T>(doing: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw setupError(doing, error);
  }
}

/** Cleans up after an error; if that fails too, the first error says so. Returns what to throw. */
export function cleanedUp(error: unknown, cleanUp: () => void): unknown {
  try {
    cleanUp();
    return error;
  } catch (second) {
    const { code, message, reason, metadata } = setupError('set up the container', error);
    const cleanup = second instanceof Error ? second.message : String(second);
    const text = `${message}; and cleaning up failed: ${cleanup}`;
    return new FlotillaError(code, text, { reason, metadata: { ...metadata, cleanup }, cause: error });
  }
}

/** For the way from the child to its parent. */
export function toErrorMessage(error: unknown): ErrorMessage {
  const { code, message, reason, metadata } = setupError('set up the container', error);
  return { code, message, reason, metadata };
}

/** The error that the child had. */
export function fromErrorMessage({ code, message, reason, metadata }: ErrorMessage): FlotillaError {
  return new FlotillaError(code, message, { reason, metadata });
}

/** Something the container asks for that this engine, or this host, does not have. */
export function unsupported(field: string, why: string): FlotillaError {
  return new FlotillaError('unimplemented', `${field}: ${why}`, { reason: 'UNSUPPORTED', metadata: { field, why } });
}
