import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { isErrno } from '@flotilla/linux';
import type { LogFormat } from './log-format.ts';

const headBytes = 256;
const mostFiles = 1000;

/** One file of a log that is rotated: the current one, or one that was moved aside. */
export class LogFile implements Disposable {
  readonly fd: number;
  readonly inode: number;
  #head: string | undefined;

  constructor(fd: number) {
    this.fd = fd;
    this.inode = fstatSync(fd).ino;
  }

  get sizeBytes(): number {
    return fstatSync(this.fd).size;
  }

  /**
   * Tells this file from another with the same inode number, which file systems give out again: a digest of its first
   * record, which holds a time in nanoseconds. Empty while there is none.
   */
  headBy({ firstRecordBytes }: LogFormat): string {
    if (this.#head !== undefined) return this.#head;
    const buffer = Buffer.alloc(headBytes);
    const length = readSync(this.fd, buffer, 0, headBytes, 0);
    const end = firstRecordBytes(buffer.subarray(0, length));
    if (end === undefined && length < headBytes) return '';
    const record = buffer.subarray(0, end);
    this.#head = createHash('sha256').update(record).digest('hex').slice(0, 16);
    return this.#head;
  }

  /** For a file that was emptied: it begins anew. */
  forgetHead(): void {
    this.#head = undefined;
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/** Names of a log's files by age: 0 is the current one. */
export function logFilePath(path: string, age: number): string {
  return age === 0 ? path : `${path}.${age}`;
}

/** Opens the file of an age; undefined when there is none. */
export function openLogFile(path: string, age: number): LogFile | undefined {
  try {
    return new LogFile(openSync(logFilePath(path, age), 'r'));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** The age of the oldest file; undefined when there is no log at all. */
export function oldestAge(path: string): number | undefined {
  let oldest: number | undefined;
  for (let age = 0; age < mostFiles; age++) {
    if (inodeOf(path, age) !== undefined) oldest = age;
    // The current file is missing for a moment while it is rotated.
    else if (age > 0) break;
  }
  return oldest;
}

/** The age of an open file; undefined when it was removed. */
export function ageOf(path: string, { inode }: LogFile): number | undefined {
  for (let age = 0; age < mostFiles; age++) {
    const found = inodeOf(path, age);
    if (found === inode) return age;
    if (found === undefined && age > 0) return undefined;
  }
  return undefined;
}

/**
 * Opens the file that follows one that gets no more records; undefined when that is the current one still. A rotation
 * in between is noticed and looked past.
 */
export function openNext(path: string, current: LogFile): LogFile | undefined {
  for (;;) {
    const age = ageOf(path, current);
    if (age === 0) return undefined;
    const nextAge = age === undefined ? oldestAge(path) : age - 1;
    const next = nextAge === undefined ? undefined : openLogFile(path, nextAge);
    if (next === undefined) return undefined;
    if (ageOf(path, current) === age && next.inode !== current.inode) return next;
    next[Symbol.dispose]();
  }
}

function inodeOf(path: string, age: number): number | undefined {
  return statSync(logFilePath(path, age), { throwIfNoEntry: false })?.ino;
}
