import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { splice } from '@flotilla/linux';
import type { LogStream } from '../logs/log-driver.ts';

/** A file is followed by another once it has this size; one older one is kept. So much of a stream at least can be replayed. */
export const keptBytes = 512 * 1024;
/** The most that is read at once: what the pipe of a container holds. */
export const longestPieceBytes = 256 * 1024;

interface JournalFile {
  readonly path: string;
  readonly fd: number;
  /** Place in the stream of its first byte. */
  readonly base: number;
}

/**
 * What was read of a container's stream and is not done with: the kernel moves it from the pipe into a file, in one step
 * that no SIGKILL can split, so that the size of the file is the number of bytes that have left the pipe. Files are named
 * `<stream>.<place of the first byte>`.
 */
export class Journal implements Disposable {
  readonly #dir: string;
  readonly #stream: LogStream;
  readonly #fileBytes: number;
  #current: JournalFile;
  #previous: JournalFile | undefined;
  #end: number;

  /** Begins, or goes on with what another shim has left. `fileBytes` of the stream at least are kept. */
  constructor(dir: string, stream: LogStream, fileBytes = keptBytes) {
    this.#fileBytes = fileBytes;
    this.#dir = dir;
    this.#stream = stream;
    const [newest = 0, older, ...old] = findBases(dir, stream);
    for (const base of old) rmSync(this.#path(base), { force: true });
    this.#current = this.#open(newest);
    this.#end = newest + fstatSync(this.#current.fd).size;
    if (older === undefined) return;
    const before = this.#open(older);
    // One that was about to be used again is empty.
    if (older + fstatSync(before.fd).size === newest) this.#previous = before;
    else remove(before);
  }

  /** Place in the stream behind the last byte read. */
  get end(): number {
    return this.#end;
  }

  /** Place of the oldest byte that is kept. */
  get begin(): number {
    return (this.#previous ?? this.#current).base;
  }

  /** Moves what a pipe has, at most {@link longestPieceBytes}. 0 at its end, `undefined` when it has nothing now. Throws ENOSPC. */
  fill(pipeFd: number): number | undefined {
    const { base, fd } = this.#current;
    if (this.#end - base >= this.#fileBytes) {
      this.#begin();
      return this.fill(pipeFd);
    }
    const moved = splice(pipeFd, fd, longestPieceBytes, this.#end - base);
    this.#end += moved ?? 0;
    return moved;
  }

  /** Reads from a place that is kept, to the end or until the buffer is full; returns how many bytes. */
  read(from: number, buffer: Uint8Array): number {
    let length = 0;
    for (const file of [this.#previous, this.#current]) {
      if (file === undefined) continue;
      const until = file === this.#current ? this.#end : this.#current.base;
      const wanted = Math.min(until - from - length, buffer.length - length);
      if (wanted > 0) length += readSync(file.fd, buffer, length, wanted, from + length - file.base);
    }
    return length;
  }

  [Symbol.dispose](): void {
    closeSync(this.#current.fd);
    if (this.#previous !== undefined) closeSync(this.#previous.fd);
  }

  /** Whatever step of it fails, what was read and not logged stays where it is, and it can be tried again. */
  #begin(): void {
    const full = this.#current;
    const old = this.#previous;
    this.#previous = undefined;
    this.#current = old === undefined ? this.#open(this.#end) : this.#useAgain(old);
    this.#previous = full;
  }

  /** Cheaper than a new file. Emptied first: under its new name it would else say that so much was read. */
  #useAgain({ path: oldPath, fd }: JournalFile): JournalFile {
    const base = this.#end;
    const path = this.#path(base);
    try {
      ftruncateSync(fd, 0);
      renameSync(oldPath, path);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    return { path, base, fd };
  }

  #open(base: number): JournalFile {
    const path = this.#path(base);
    return { path, base, fd: openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600) };
  }

  #path(base: number): string {
    return join(this.#dir, `${this.#stream}.${base}`);
  }
}

function remove({ path, fd }: JournalFile): void {
  closeSync(fd);
  rmSync(path, { force: true });
}

/** Removes the files of a stream's journal. */
export function removeJournal(dir: string, stream: LogStream): void {
  for (const base of findBases(dir, stream)) rmSync(join(dir, `${stream}.${base}`), { force: true });
}

/** Newest first. */
function findBases(dir: string, stream: LogStream): number[] {
  return readdirSync(dir)
    .flatMap((name) => (name.startsWith(`${stream}.`) ? [Number(name.slice(stream.length + 1))] : []))
    .filter(Number.isSafeInteger)
    .sort((a, b) => b - a);
}
