import { setTimeout as sleep } from 'node:timers/promises';
import { invalidField } from '@flotilla/errors';
import { ageOf, type LogFile, oldestAge, openLogFile, openNext } from './log-files.ts';
import { fileStart, type LogFormat, type LogRecord, type RecordPlace } from './log-format.ts';

export interface LogRequest {
  readonly path: string;
  readonly format: LogFormat;
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
  const { path, format, isOver, signal, untilUnixNano, now } = request;
  let place = openPlace(request);
  let pauseMs = shortestPauseMs;
  try {
    while (!signal.aborted) {
      // Asked before the read that finds nothing: what was written up to then is read.
      const over = isOver === undefined || isOver() || (untilUnixNano !== undefined && now() >= untilUnixNano);
      place ??= openOldest(path);
      const records = place === undefined ? [] : format.readRecords(place.file.fd, place.at);
      if (place !== undefined && records.length > 0) {
        pauseMs = shortestPauseMs;
        for (const record of records) {
          place.at = record.next;
          if (untilUnixNano !== undefined && record.timeUnixNano >= untilUnixNano) return;
          if (isWanted(record, request)) yield { ...record, cursor: formatCursor(place, format) };
        }
        continue;
      }
      if (place !== undefined && moveOn(request, place)) continue;
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
  at: RecordPlace;
}

function isWanted({ stream, timeUnixNano, data }: LogRecord, { stdout, stderr, sinceUnixNano }: LogRequest): boolean {
  if (data.length === 0 || !(stream === 'stdout' ? stdout : stderr)) return false;
  return sinceUnixNano === undefined || timeUnixNano >= sinceUnixNano;
}

/** At the end of a file: goes to the one that follows, or to the start of one that was emptied. False: nothing new. */
function moveOn({ path, format }: LogRequest, place: Place): boolean {
  const { file } = place;
  if (file.sizeBytes < place.at.offset) {
    place.at = fileStart;
    file.forgetHead();
    return true;
  }
  if (ageOf(path, file) === 0) return false;
  // It was moved aside, perhaps after the last read: what it got before that comes first.
  if (format.readRecords(file.fd, place.at).length > 0) return true;
  const next = openNext(path, file);
  if (next === undefined) return false;
  file[Symbol.dispose]();
  place.file = next;
  place.at = fileStart;
  return true;
}

function openPlace({ path, format, afterCursor, tail }: LogRequest): Place | undefined {
  if (afterCursor !== '') return openCursor(path, format, afterCursor);
  return tail === undefined ? openOldest(path) : openTail(path, format, tail);
}

function openOldest(path: string): Place | undefined {
  const age = oldestAge(path);
  const file = age === undefined ? undefined : openLogFile(path, age);
  return file === undefined ? undefined : { file, at: fileStart };
}

function openTail(path: string, format: LogFormat, records: number): Place | undefined {
  let place: Place | undefined;
  let wanted = records;
  for (let age = 0; ; age++) {
    const file = openLogFile(path, age);
    if (file === undefined) return place;
    place?.file[Symbol.dispose]();
    const { place: at, missing } = format.seekTail(file.fd, file.sizeBytes, wanted);
    place = { file, at };
    if (missing === 0) return place;
    wanted = missing;
  }
}

function formatCursor({ file, at: { offset, taken } }: Place, format: LogFormat): string {
  return `${file.inode}.${file.headBy(format)}.${offset}${taken === 0 ? '' : `.${taken}`}`;
}

/** INVALID_FIELD when it is none. The oldest file when the cursor's is gone: what was in it is lost. */
function openCursor(path: string, format: LogFormat, cursor: string): Place | undefined {
  const match = /^(\d{1,20})\.([0-9a-f]{16})\.(\d{1,15})(?:\.(\d{1,6}))?$/.exec(cursor);
  if (match === null) throw invalidField('after_cursor', 'the cursor of an earlier entry', cursor);
  const at = { offset: Number(match[3]), taken: Number(match[4] ?? 0) };
  const oldest = oldestAge(path);
  for (let age = 0; oldest !== undefined && age <= oldest; age++) {
    const file = openLogFile(path, age);
    if (file === undefined) continue;
    if (String(file.inode) === match[1] && file.headBy(format) === match[2]) return { file, at };
    file[Symbol.dispose]();
  }
  return openOldest(path);
}
