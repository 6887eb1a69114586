import { setTimeout as sleep } from 'node:timers/promises';
import { invalidField } from '@flotilla/errors';
import { ageOf, type LogFile, oldestAge, openLogFile, openNext } from './log-files.ts';
import { type LogRecord, readRecords, seekTail } from './log-records.ts';

export interface LogRequest {
  readonly path: string;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly sinceUnixNano: bigint | undefined;
  readonly untilUnixNano: bigint | undefined;
  /** The last so many records; undefined for all. */
  readonly tail: number | undefined;
  /** From an earlier entry; empty for none. */
  readonly afterCursor: string;
  /** Undefined: ends at the end of the log. Else: ends there once this says that no more will come. */
  readonly isOver: (() => boolean) | undefined;
  readonly signal: AbortSignal;
  readonly now: () => bigint;
}

export interface LogEntry extends LogRecord {
  /** Opaque: the place behind this entry. */
  readonly cursor: string;
}

const shortestPauseMs = 10;
const longestPauseMs = 100;

/**
 * A container's log, record by record, across rotated files: bounded memory, whatever the size of the log. With `isOver`
 * it goes on with what is written.
 */
export async function* readLog(request: LogRequest): AsyncGenerator<LogEntry> {
  const { path, isOver, signal, untilUnixNano, now } = request;
  let place = openPlace(request);
  let pauseMs = shortestPauseMs;
  try {
    while (!signal.aborted) {
      // Asked before the read that finds nothing: what was written up to then is read.
      const over = isOver === undefined || isOver() || (untilUnixNano !== undefined && now() >= untilUnixNano);
      place ??= openOldest(path);
      const records = place === undefined ? [] : readRecords(place.file, place.offset);
      if (place !== undefined && records.length > 0) {
        pauseMs = shortestPauseMs;
        for (const record of records) {
          place.offset = record.endOffset;
          if (untilUnixNano !== undefined && record.timeUnixNano >= untilUnixNano) return;
          if (isWanted(record, request)) yield { ...record, cursor: formatCursor(place) };
        }
        continue;
      }
      if (place !== undefined && moveOn(path, place)) continue;
      if (over) return;
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
      pauseMs = Math.min(2 * pauseMs, longestPauseMs);
    }
  } finally {
    place?.file[Symbol.dispose]();
  }
}

interface Place {
  file: LogFile;
  offset: number;
}

function isWanted({ stream, timeUnixNano, data }: LogRecord, { stdout, stderr, sinceUnixNano }: LogRequest): boolean {
  if (data.length === 0 || !(stream === 'stdout' ? stdout : stderr)) return false;
  return sinceUnixNano === undefined || timeUnixNano >= sinceUnixNano;
}

/** At the end of a file: goes to the one that follows, or to the start of one that was emptied. False: nothing new. */
function moveOn(path: string, place: Place): boolean {
  const { file } = place;
  if (file.sizeBytes < place.offset) {
    place.offset = 0;
    file.forgetHead();
    return true;
  }
  if (ageOf(path, file) === 0) return false;
  // It was moved aside, perhaps after the last read: what it got before that comes first.
  if (readRecords(file, place.offset).length > 0) return true;
  const next = openNext(path, file);
  if (next === undefined) return false;
  file[Symbol.dispose]();
  place.file = next;
  place.offset = 0;
  return true;
}

function openPlace({ path, afterCursor, tail }: LogRequest): Place | undefined {
  if (afterCursor !== '') return openCursor(path, afterCursor);
  return tail === undefined ? openOldest(path) : openTail(path, tail);
}

function openOldest(path: string): Place | undefined {
  const age = oldestAge(path);
  const file = age === undefined ? undefined : openLogFile(path, age);
  return file === undefined ? undefined : { file, offset: 0 };
}

function openTail(path: string, records: number): Place | undefined {
  let place: Place | undefined;
  let wanted = records;
  for (let age = 0; ; age++) {
    const file = openLogFile(path, age);
    if (file === undefined) return place;
    place?.file[Symbol.dispose]();
    const { offset, missing } = seekTail(file, wanted);
    place = { file, offset };
    if (missing === 0) return place;
    wanted = missing;
  }
}

function formatCursor({ file, offset }: Place): string {
  return `${file.inode}.${file.head}.${offset}`;
}

/** INVALID_FIELD when it is none. The oldest file when the cursor's is gone: what was in it is lost. */
function openCursor(path: string, cursor: string): Place | undefined {
  const match = /^(\d{1,20})\.([0-9a-f]{16})\.(\d{1,15})$/.exec(cursor);
  if (match === null) throw invalidField('after_cursor', 'the cursor of an earlier entry', cursor);
  const oldest = oldestAge(path);
  for (let age = 0; oldest !== undefined && age <= oldest; age++) {
    const file = openLogFile(path, age);
    if (file === undefined) continue;
    if (String(file.inode) === match[1] && file.head === match[2]) return { file, offset: Number(match[3]) };
    file[Symbol.dispose]();
  }
  return openOldest(path);
}
