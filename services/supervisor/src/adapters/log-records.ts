import { readSync } from 'node:fs';
import type { LogFile } from './log-files.ts';

/** One entry of Docker's json-file log. */
export interface LogRecord {
  readonly stream: 'stdout' | 'stderr';
  readonly timeUnixNano: bigint;
  readonly data: Buffer;
  /** Where the next record begins. */
  readonly endOffset: number;
}

const newline = 0x0a;
const chunkBytes = 64 * 1024;
/** 16 KiB of a line, each byte escaped sixfold, and what is around it. */
const longestRecordBytes = 256 * 1024;

/** The whole records from an offset on, at most a chunk of them; empty at the end of the file. */
export function readRecords(file: LogFile, offset: number): LogRecord[] {
  for (let size = chunkBytes; size <= longestRecordBytes; size *= 2) {
    const buffer = Buffer.allocUnsafe(size);
    const length = readSync(file.fd, buffer, 0, size, offset);
    const end = buffer.subarray(0, length).lastIndexOf(newline) + 1;
    if (end > 0) return parseRecords(buffer.subarray(0, end), offset);
    if (length < size) return [];
  }
  // Not ours: no record is as long. Passed over up to its end, so that what follows is not lost.
  return [skipped(offset + longestRecordBytes)];
}

function parseRecords(bytes: Buffer, offset: number): LogRecord[] {
  const records: LogRecord[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(newline, start) + 1;
    records.push(parseRecord(bytes.toString('utf8', start, end), offset + end));
    start = end;
  }
  return records;
}

function parseRecord(line: string, endOffset: number): LogRecord {
  try {
    const { log, stream, time } = JSON.parse(line) as { log: string; stream: string; time: string };
    return {
      stream: stream === 'stderr' ? 'stderr' : 'stdout',
      timeUnixNano: parseTime(time),
      data: Buffer.from(log),
      endOffset,
    };
  } catch {
    return skipped(endOffset);
  }
}

/** A place without an entry. */
function skipped(endOffset: number): LogRecord {
  return { stream: 'stdout', timeUnixNano: 0n, data: Buffer.alloc(0), endOffset };
}

/** RFC3339 with up to nine digits of the second. */
export function parseTime(text: string): bigint {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text);
  const milliseconds = match === null ? Number.NaN : Date.parse(`${match[1]}Z`);
  if (Number.isNaN(milliseconds)) throw new RangeError(`no time: ${text}`);
  return BigInt(milliseconds) * 1_000_000n + BigInt((match![2] ?? '').padEnd(9, '0'));
}

/** Where the last so many records begin, counted from the end; what is missing is to be found in older files. */
export function seekTail(file: LogFile, records: number): { readonly offset: number; readonly missing: number } {
  let missing = records;
  const buffer = Buffer.allocUnsafe(chunkBytes);
  for (let end = file.sizeBytes; end > 0; ) {
    const start = Math.max(end - chunkBytes, 0);
    const length = readSync(file.fd, buffer, 0, end - start, start);
    for (let at = buffer.subarray(0, length).lastIndexOf(newline); at !== -1; ) {
      // A newline ends a record: one more than wanted ends the record before the first that is.
      if (missing === 0) return { offset: start + at + 1, missing: 0 };
      missing--;
      at = at === 0 ? -1 : buffer.subarray(0, at).lastIndexOf(newline);
    }
    end = start;
  }
  return { offset: 0, missing };
}
