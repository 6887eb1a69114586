import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { isErrno } from '@flotilla/linux';

const newline = 0x0a;
const tailBytes = 256 * 1024;

export interface RotatingFileOptions {
  /** The current file; older ones are `<path>.1`, `<path>.2`, … */
  readonly path: string;
  /** A new file is begun once the current one has this size; 0 for never. */
  readonly maxSizeBytes: number;
  /** How many files are kept, the current one included. */
  readonly maxFiles: number;
}

/** A file of records that end with a newline, rotated between two records as Docker rotates its logs. */
export class RotatingFile implements Disposable {
  readonly #path: string;
  readonly #maxSizeBytes: number;
  readonly #maxFiles: number;
  #fd: number;
  #sizeBytes: number;

  /** Opens for appending. What a killed writer left of its last record is cut off. */
  constructor({ path, maxSizeBytes, maxFiles }: RotatingFileOptions) {
    this.#path = path;
    this.#maxSizeBytes = maxSizeBytes;
    this.#maxFiles = maxFiles;
    this.#fd = openForAppending(path);
    this.#sizeBytes = cutTornRecord(this.#fd);
  }

  /** Appends whole records. On failure (ENOSPC, EIO) the records of this call may be lost, never half of one. */
  write(records: Uint8Array): void {
    let rest = records;
    while (rest.length > 0) {
      if (this.#maxSizeBytes > 0 && this.#sizeBytes >= this.#maxSizeBytes) this.#rotate();
      const piece = this.#untilFull(rest);
      this.#append(piece);
      rest = rest.subarray(piece.length);
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  /** Up to and including the record that fills the file. */
  #untilFull(records: Uint8Array): Uint8Array {
    if (this.#maxSizeBytes <= 0) return records;
    const room = this.#maxSizeBytes - this.#sizeBytes;
    return records.length <= room ? records : records.subarray(0, records.indexOf(newline, room - 1) + 1);
  }

  #append(records: Uint8Array): void {
    let written = 0;
    try {
      while (written < records.length) written += writeSync(this.#fd, records, written);
      this.#sizeBytes += written;
    } catch (error) {
      ftruncateSync(this.#fd, this.#sizeBytes);
      throw error;
    }
  }

  #rotate(): void {
    if (this.#maxFiles < 2) {
      ftruncateSync(this.#fd, 0);
    } else {
      for (let n = this.#maxFiles - 1; n > 1; n--) renameIfThere(`${this.#path}.${n - 1}`, `${this.#path}.${n}`);
      renameIfThere(this.#path, `${this.#path}.1`);
      const fresh = openForAppending(this.#path);
      closeSync(this.#fd);
      this.#fd = fresh;
    }
    this.#sizeBytes = 0;
  }
}

function openForAppending(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT, 0o640);
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** Returns the size that is left. */
function cutTornRecord(fd: number): number {
  const { size } = fstatSync(fd);
  if (size === 0) return 0;
  const tail = Buffer.allocUnsafe(Math.min(size, tailBytes));
  const start = size - tail.length;
  const length = readSync(fd, tail, 0, tail.length, start);
  const end = tail.subarray(0, length).lastIndexOf(newline) + 1;
  if (end === length) return size;
  ftruncateSync(fd, start + end);
  return start + end;
}
