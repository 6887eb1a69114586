import { asDiskFull, FlotillaError } from '@flotilla/errors';

/** An entry of a layer that may not be unpacked. */
export function entryRefused(entry: string, problem: string): FlotillaError {
  return new FlotillaError('invalid_argument', `entry ${JSON.stringify(short(entry))} ${problem}`, {
    reason: 'LAYER_ENTRY_REFUSED',
    metadata: { entry: short(entry), problem },
  });
}

export function archiveTruncated(cause?: unknown): FlotillaError {
  return new FlotillaError('invalid_argument', 'the archive ends in the middle', {
    reason: 'ARCHIVE_TRUNCATED',
    cause,
  });
}

export function archiveNotTar(cause?: unknown): FlotillaError {
  return new FlotillaError('invalid_argument', 'not a tar archive, plain or compressed with gzip or zstd', {
    reason: 'ARCHIVE_NOT_TAR',
    cause,
  });
}

export function archiveTooLarge(what: string, limit: number): FlotillaError {
  return new FlotillaError('invalid_argument', `the archive has more than ${limit} ${what}`, {
    reason: 'ARCHIVE_TOO_LARGE',
    metadata: { what, limit: String(limit) },
  });
}

/** What the parsers and decompressors throw, in our words; our own errors and those of the disk pass. */
export function toArchiveError(error: unknown): unknown {
  if (error instanceof FlotillaError || !(error instanceof Error)) return error;
  const full = asDiskFull(error);
  if (full !== undefined) return full;
  const { code = '' } = error as NodeJS.ErrnoException;
  if (code === 'Z_BUF_ERROR' || code === 'ZSTD_error_srcSize_wrong' || /unexpected end/i.test(error.message)) {
    return archiveTruncated(error);
  }
  if (
    code.startsWith('Z_') ||
    code.startsWith('ZSTD_') ||
    /invalid (tar )?header|header exceeds|checksum/i.test(error.message)
  ) {
    return archiveNotTar(error);
  }
  return error;
}

function short(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
