import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { isErrno } from '@flotilla/linux';
import type { LogPlace } from './log-driver.ts';
import type { RecordFraming } from './record-framing.ts';

export interface RotatingFileOptions {
  /** The current file; older ones are `<path>.1`, `<path>.2`, … */
  readonly path: string;
  /** A new file is begun once the current one has this size; 0 for never. */
  readonly maxSizeBytes: number;
  /** How many files are kept, the current one included. */
  readonly maxFiles: number;
  readonly framing: RecordFraming;
}

/** A file of records, rotated between two records as Docker rotates its logs. */
export class RotatingFile implements Disposable {
  readonly #path: string;
  readonly #maxSizeBytes: number;
  readonly #maxFiles: number;
  readonly #framing: RecordFraming;
  #fd: number;
  #inode: bigint;
  #sizeBytes: number;

  /** Opens for appending. What a killed writer left of its last record is cut off. */
  constructor({ path, maxSizeBytes, maxFiles, framing }: RotatingFileOptions) {
    this.#path = path;
    this.#maxSizeBytes = maxSizeBytes;
    this.#maxFiles = maxFiles;
    this.#framing = framing;
    this.#fd = openForAppending(path);
    this.#inode = inodeOf(this.#fd);
    this.#sizeBytes = cutTornRecord(this.#fd, framing);
  }

  /** Where the next record goes. */
  get place(): LogPlace {
    return { file: this.#inode, offset: BigInt(this.#sizeBytes) };
  }

  /** Appends whole records. On failure (ENOSPC, EIO) some of them may be there, never half of one. */
  write(records: Uint8Array): void {
    let rest = records;
    while (rest.length > 0) {
      if (this.#maxSizeBytes > 0 && this.#sizeBytes >= this.#maxSizeBytes) this.#rotate();
      const piece = this.#untilFull(rest, this.#sizeBytes);
      this.#append(piece);
      rest = rest.subarray(piece.length);
    }
  }

  /**
   * Appends, of records whose writing began at a place and may have been cut short, those that are not there. Nothing is
   * taken back, so that whoever reads the file meanwhile sees nothing change.
   */
  writeAgain(records: Uint8Array, { file, offset }: LogPlace): void {
    const rotations = this.#rotationsSince(file);
    // An inode number may have been given out again: what the file holds decides.
    const begun =
      (rotations === 0 ? this.#matching(records, Number(offset)) : undefined) ??
      this.#findBegun(records, Number(offset), rotations === 0 ? undefined : rotations);
    this.write(begun === undefined ? records : records.subarray(begun));
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  /** How often the file was rotated since its inode number was this one; `undefined` when that one is not kept any more. */
  #rotationsSince(file: bigint): number | undefined {
    if (file === this.#inode) return 0;
    for (let age = 1; age < this.#maxFiles; age++) {
      if (statSync(`${this.#path}.${age}`, { bigint: true, throwIfNoEntry: false })?.ino === file) return age;
    }
    return undefined;
  }

  /** How many bytes of the records are in the files after rotation; `undefined` when the current one holds something else. */
  #findBegun(records: Uint8Array, offset: number, rotations: number | undefined): number | undefined {
    // As `write` cuts them; each rotation begins a file.
    let begun: number | undefined;
    let at = 0;
    for (let sizeBytes = offset, rotated = 0; at < records.length; ) {
      if (this.#maxSizeBytes > 0 && sizeBytes >= this.#maxSizeBytes) {
        sizeBytes = 0;
        rotated++;
      }
      const rest = records.subarray(at);
      const length = rotated > 0 && (rotations ?? rotated) === rotated ? this.#matching(rest, 0) : undefined;
      if (length !== undefined) begun = at + length;
      const piece = this.#untilFull(rest, sizeBytes);
      at += piece.length;
      sizeBytes += piece.length;
    }
    return begun;
  }

  /** How long the file is from there on, if it holds the beginning of these records. */
  #matching(records: Uint8Array, offset: number): number | undefined {
    const length = this.#sizeBytes - offset;
    if (length < 0 || length > records.length) return undefined;
    const there = Buffer.allocUnsafe(length);
    readSync(this.#fd, there, 0, length, offset);
    return there.equals(records.subarray(0, length)) ? length : undefined;
  }

  /** Up to and including the record that fills the file. */
  #untilFull(records: Uint8Array, sizeBytes: number): Uint8Array {
    if (this.#maxSizeBytes <= 0) return records;
    const room = this.#maxSizeBytes - sizeBytes;
    return records.length <= room ? records : records.subarray(0, this.#framing.endOf(records, room));
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
    for (let n = this.#maxFiles - 1; n > 1; n--) renameIfThere(`${this.#path}.${n - 1}`, `${this.#path}.${n}`);
    // Always another file and never one that was emptied: the inode number says whether it was rotated.
    const fresh = openForAppending(`${this.#path}.new`);
    ftruncateSync(fresh, 0);
    if (this.#maxFiles > 1) renameIfThere(this.#path, `${this.#path}.1`);
    renameSync(`${this.#path}.new`, this.#path);
    closeSync(this.#fd);
    this.#fd = fresh;
    this.#inode = inodeOf(fresh);
    this.#sizeBytes = 0;
  }
}

function openForAppending(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT, 0o640);
}

function inodeOf(fd: number): bigint {
  return fstatSync(fd, { bigint: true }).ino;
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** Returns the size that is left. */
function cutTornRecord(fd: number, framing: RecordFraming): number {
  const { size } = fstatSync(fd);
  if (size === 0) return 0;
  const whole = framing.wholeBytes(fd, size);
  if (whole < size) ftruncateSync(fd, whole);
  return whole;
}
