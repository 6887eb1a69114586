import { readSync } from 'node:fs';
import { LocalLogRecord } from '@flotilla/proto/flotilla/log/v1/local_log';
import { fileStart, type LogFormat, type LogRecord, type RecordPlace } from './log-format.ts';

const newline = 0x0a;
const lengthBytes = 4;
const chunkBytes = 64 * 1024;
/** 16 KiB of output and what is around it: a chunk holds some. */
const longestRecordBytes = 32 * 1024;

/** Files of the driver `local`: flotilla.log.v1.LocalLogRecord between its length and its length again. */
export const localFormat: LogFormat = {
  readRecords: (fd, { offset, taken }) => {
    const chunk = readAt(fd, offset, chunkBytes);
    const records: LogRecord[] = [];
    for (let at = 0; ; ) {
      const end = recordEnd(chunk, at);
      if (end === undefined) return records;
      const entries = parseEntries(chunk.subarray(at + lengthBytes, end - lengthBytes), offset + at, offset + end);
      records.push(...(at === 0 ? entries.slice(taken) : entries));
      at = end;
    }
  },

  seekTail: (fd, sizeBytes, entries) => {
    let missing = entries;
    for (let end = wholeBytes(fd, sizeBytes); end > 0; ) {
      if (missing === 0) return { place: { offset: end, taken: 0 }, missing };
      const start = end - 2 * lengthBytes - readAt(fd, end - lengthBytes, lengthBytes).readUInt32BE();
      const found = parseEntries(readAt(fd, start + lengthBytes, end - start - 2 * lengthBytes), start, end).length;
      if (found > missing) return { place: { offset: start, taken: found - missing }, missing: 0 };
      missing -= found;
      end = start;
    }
    return { place: fileStart, missing };
  },

  firstRecordBytes: (beginning) => {
    const end = beginning.length < lengthBytes ? undefined : 2 * lengthBytes + beginning.readUInt32BE();
    return end === undefined || end > beginning.length ? undefined : end;
  },
};

/** Where the record that begins there ends; `undefined` when it is not all there. */
function recordEnd(chunk: Buffer, at: number): number | undefined {
  if (at + lengthBytes > chunk.length) return undefined;
  const end = at + 2 * lengthBytes + chunk.readUInt32BE(at);
  return end > chunk.length ? undefined : end;
}

/** Lines of a record; what is no record is one entry without data, that is passed over. */
function parseEntries(bytes: Buffer, offset: number, end: number): LogRecord[] {
  let record: LocalLogRecord;
  try {
    record = LocalLogRecord.decode(bytes);
  } catch {
    record = LocalLogRecord.create();
  }
  const { timeUnixNano } = record;
  const stream = record.stream === 2 ? 'stderr' : 'stdout';
  const data = Buffer.from(record.data);
  const entries: LogRecord[] = [];
  for (let at = 0; at < data.length || entries.length === 0; ) {
    const to = data.indexOf(newline, at) + 1 || data.length;
    const next: RecordPlace = to < data.length ? { offset, taken: entries.length + 1 } : { offset: end, taken: 0 };
    entries.push({ stream, timeUnixNano, data: data.subarray(at, to), next });
    at = to;
  }
  return entries;
}

/** Without a record at the end that is being written. */
function wholeBytes(fd: number, sizeBytes: number): number {
  if (sizeBytes > 2 * lengthBytes) {
    const length = readAt(fd, sizeBytes - lengthBytes, lengthBytes).readUInt32BE();
    const start = sizeBytes - 2 * lengthBytes - length;
    if (length <= longestRecordBytes && start >= 0 && readAt(fd, start, lengthBytes).readUInt32BE() === length) {
      return sizeBytes;
    }
  }
  let whole = 0;
  for (;;) {
    const chunk = readAt(fd, whole, Math.min(chunkBytes, sizeBytes - whole));
    let at = 0;
    for (let end = recordEnd(chunk, at); end !== undefined; end = recordEnd(chunk, at)) at = end;
    if (at === 0) return whole;
    whole += at;
  }
}

function readAt(fd: number, offset: number, length: number): Buffer {
  const buffer = Buffer.allocUnsafe(length);
  return buffer.subarray(0, readSync(fd, buffer, 0, length, offset));
}
