import { FlotillaError } from './flotilla-error.ts';

/** SQLITE_FULL, and SQLITE_IOERR_SHMSIZE: no room to let the index of the log grow (sqlite.org/rescode.html). */
const sqliteCodes = [13, 4874];

/** RESOURCE_EXHAUSTED / DISK_FULL when a failure, or what caused it, is that a disk or a quota is full. */
export function asDiskFull(error: unknown): FlotillaError | undefined {
  for (let one = error, depth = 0; one instanceof Error && depth < 10; one = one.cause, depth++) {
    const { code, errcode } = one as { readonly code?: unknown; readonly errcode?: unknown };
    const isFull = code === 'ENOSPC' || code === 'EDQUOT' || sqliteCodes.includes(Number(errcode ?? 0));
    if (isFull)
      return new FlotillaError('resource_exhausted', 'the disk is full', { reason: 'DISK_FULL', cause: error });
  }
  return undefined;
}
