import { readSync } from 'node:fs';
import { fileStart, type LogFormat, type LogRecord } from './log-format.ts';

const newline = 0x0a;
const chunkBytes = 64 * 1024;
/** 16 KiB of a line, each byte escaped sixfold, and what is around it. */
const longestRecordBytes = 256 * 1024;

/** Docker's json-file log: an entry is a line of JSON. */
export const jsonFormat: LogFormat = {
  readRecords: (fd, { offset }) => readRecords(fd, offset),
  seekTail,
  firstRecordBytes: (beginning) => {
    const end = beginning.indexOf(newline);
    return end === -1 ? undefined : end;
  },
};

function readRecords(fd: number, offset: number): LogRecord[] {
  for (let size = chunkBytes; size <= longestRecordBytes; size *= 2) {
    const buffer = Buffer.allocUnsafe(size);
    const length = readSync(fd, buffer, 0, size, offset);
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

interface JsonRecord {
  readonly log: string;
  readonly stream: string;
  readonly time: string;
  readonly attrs?: Readonly<Record<string, string>>;
}

function parseRecord(line: string, endOffset: number): LogRecord {
  try {
    const { log, stream, time, attrs } = JSON.parse(line) as JsonRecord;
    return {
      ...(attrs === undefined ? {} : { attributes: attrs }),
      stream: stream === 'stderr' ? 'stderr' : 'stdout',
      timeUnixNano: parseTime(time),
      data: Buffer.from(log),
      next: { offset: endOffset, taken: 0 },
    };
  } catch {
    return skipped(endOffset);
  }
}

/** A place without an entry. */
function skipped(endOffset: number): LogRecord {
  return { stream: 'stdout', timeUnixNano: 0n, data: Buffer.alloc(0), next: { offset: endOffset, taken: 0 } };
}

/** RFC3339 with up to nine digits of the second. */
export function parseTime(text: string): bigint {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text);
  const milliseconds = match === null ? Number.NaN : Date.parse(`${match[1]}Z`);
  if (Number.isNaN(milliseconds)) throw new RangeError(`no time: ${text}`);
  return BigInt(milliseconds) * 1_000_000n + BigInt((match![2] ?? '').padEnd(9, '0'));
}

function seekTail(fd: number, sizeBytes: number, entries: number): ReturnType<LogFormat['seekTail']> {
  let missing = entries;
  const buffer = Buffer.allocUnsafe(chunkBytes);
  for (let end = sizeBytes; end > 0; ) {
    const start = Math.max(end - chunkBytes, 0);
    const length = readSync(fd, buffer, 0, end - start, start);
    for (let at = buffer.subarray(0, length).lastIndexOf(newline); at !== -1; ) {
      // A newline ends a record: one more than wanted ends the record before the first that is.
      if (missing === 0) return { place: { offset: start + at + 1, taken: 0 }, missing: 0 };
      missing--;
      at = at === 0 ? -1 : buffer.subarray(0, at).lastIndexOf(newline);
    }
    end = start;
  }
  return { place: fileStart, missing };
}
