import { asDiskFull, FlotillaError } from '@flotilla/errors';
import { isErrno } from '@flotilla/linux';

export function pathNotFound(path: string, key: string): FlotillaError {
  return new FlotillaError('not_found', `Could not find the file ${path} in container ${key}`, {
    reason: 'PATH_NOT_FOUND',
    metadata: { path, containerId: key },
  });
}

export function notADirectory(message: string, path: string): FlotillaError {
  return new FlotillaError('invalid_argument', message, { reason: 'NOT_A_DIRECTORY', metadata: { path } });
}

export function containerEnded(key: string): FlotillaError {
  return new FlotillaError('failed_precondition', `the process of container ${key} has ended`, {
    reason: 'CONTAINER_NOT_RUNNING',
    metadata: { containerId: key },
  });
}

export function readOnly(what: 'container rootfs' | 'mounted volume', path: string): FlotillaError {
  return new FlotillaError('failed_precondition', `${what} is marked read-only`, {
    reason: 'READ_ONLY',
    metadata: { path },
  });
}

export function directoryConflict(message: string, path: string): FlotillaError {
  return new FlotillaError('invalid_argument', message, { reason: 'DIRECTORY_CONFLICT', metadata: { path } });
}

/** What the kernel says to an entry, in words; what is no answer about the entry passes. */
export function toCopyError(error: unknown, path: string): unknown {
  if (error instanceof FlotillaError || !(error instanceof Error)) return error;
  const full = asDiskFull(error);
  if (full !== undefined) return full;
  const refuse = (code: 'failed_precondition' | 'invalid_argument', reason: string, problem: string) =>
    new FlotillaError(code, `${path}: ${problem}`, { reason, metadata: { path }, cause: error });
  if (isErrno(error, 'EROFS')) return refuse('failed_precondition', 'READ_ONLY', 'read-only file system');
  if (isErrno(error, 'EBUSY')) return refuse('failed_precondition', 'PATH_BUSY', 'device or resource busy');
  if (isErrno(error, 'EPERM', 'EACCES', 'EOPNOTSUPP')) {
    return refuse('failed_precondition', 'PATH_REFUSED', 'the file system does not permit it');
  }
  if (isErrno(error, 'ENAMETOOLONG')) return refuse('invalid_argument', 'PATH_REFUSED', 'file name too long');
  if (isErrno(error, 'ENOTDIR', 'ELOOP', 'ENOENT', 'EEXIST', 'ENOTEMPTY', 'EXDEV')) {
    return refuse('failed_precondition', 'PATH_CHANGED', `not a directory on its way, or changed meanwhile`);
  }
  return error;
}

/** A part of a volume that is not there, or leads out of it. */
export function partRefused(subpath: string, cause: unknown): FlotillaError {
  return new FlotillaError('failed_precondition', `${subpath} is not in the volume, or leads out of it`, {
    reason: 'VOLUME_SUBPATH_REFUSED',
    metadata: { subpath },
    cause,
  });
}
