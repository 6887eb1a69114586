import { closeSync, constants, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { FlotillaError } from '@flotilla/errors';
import { isErrno } from '@flotilla/linux';
import type { LogPlace, LogStream } from '../logs/log-driver.ts';

const fileName = 'ledger';
/** Less than a page, so that a write is whole or not at all, whenever its writer is killed. */
const sizeBytes = 128;
const layoutVersion = 1;
const streams: readonly LogStream[] = ['stdout', 'stderr'];

const versionAt = 0;
const stdinClosedAt = 1;
const intentAt = 2;
const releaseAt = 3;
const startedAt = 8;
const streamAt = { stdout: 16, stderr: 32 } as const;
const intentFieldsAt = 48;

/** How far the release of init is; 0 in ledgers of earlier releases, which do not say. */
const releases = { underWay: 1, done: 2 } as const;
/** Of an init that died without its shim before its program ran: libcontainer's own. */
const neverRanExitCode = 125;

/** How far a stream is logged. */
export interface StreamPlace {
  /** Bytes of it that are in the log. */
  logged: number;
  /** LinePosition. */
  continuedAtUnixNano: bigint;
}

/** A piece of output that is about to be logged, or was. */
export interface LogIntent {
  readonly stream: LogStream;
  /** It goes from `logged` of its stream to here. */
  readonly end: number;
  readonly ended: boolean;
  readonly atUnixNano: bigint;
  readonly place: LogPlace;
  /** Bytes of the stream before it that the log does not get: the driver did not keep up. */
  readonly droppedBytes: number;
}

/** What a shim must know that takes over from one that was killed: a small file in the shim's folder. */
export class Ledger implements Disposable {
  readonly #fd: number;
  /** What the file says. */
  #bytes = Buffer.alloc(sizeBytes);
  /** For the next write: one that fails has changed nothing. */
  #next = Buffer.alloc(sizeBytes);

  /** Begins one, or goes on with one. FAILED_PRECONDITION / LEDGER_UNKNOWN when it is of a later release. */
  constructor(dir: string) {
    this.#fd = openSync(join(dir, fileName), constants.O_RDWR | constants.O_CREAT, 0o600);
    if (readSync(this.#fd, this.#bytes, 0, sizeBytes, 0) === 0) this.#bytes[versionAt] = layoutVersion;
    const version = this.#bytes[versionAt];
    if (version === layoutVersion) return;
    closeSync(this.#fd);
    throw new FlotillaError('failed_precondition', `the ledger in ${dir} has layout ${version}, not ${layoutVersion}`, {
      reason: 'LEDGER_UNKNOWN',
      metadata: { dir, version: String(version) },
    });
  }

  /** When init was, or was about to be, released; 0 before. */
  get startedAtUnixNano(): bigint {
    return startOf(this.#bytes);
  }

  /** Init was about to be released: whether it was, and whether its program runs, is not known. */
  get isReleaseUnderWay(): boolean {
    return this.#bytes[releaseAt] === releases.underWay;
  }

  /** Init is about to be released. */
  recordStart(atUnixNano: bigint): void {
    this.#write((bytes) => {
      bytes.writeBigInt64LE(atUnixNano, startedAt);
      bytes[releaseAt] = releases.underWay;
    });
  }

  /** Init's program runs. */
  recordReleased(): void {
    this.#write((bytes) => bytes.writeUInt8(releases.done, releaseAt));
  }

  /** It was not released after all. */
  recordNotStarted(): void {
    this.recordStart(0n);
  }

  get isStdinClosed(): boolean {
    return this.#bytes[stdinClosedAt] === 1;
  }

  recordStdinClosed(): void {
    this.#write((bytes) => bytes.writeUInt8(1, stdinClosedAt));
  }

  placeOf(stream: LogStream): StreamPlace {
    const at = streamAt[stream];
    return {
      logged: Number(this.#bytes.readBigUInt64LE(at)),
      continuedAtUnixNano: this.#bytes.readBigInt64LE(at + 8),
    };
  }

  /** The piece that was begun last; `undefined` before the first. */
  get intent(): LogIntent | undefined {
    const kind = this.#bytes[intentAt]!;
    if (kind === 0) return undefined;
    const at = intentFieldsAt;
    return {
      stream: streams[(kind - 1) >> 1]!,
      ended: ((kind - 1) & 1) === 1,
      end: Number(this.#bytes.readBigUInt64LE(at)),
      atUnixNano: this.#bytes.readBigInt64LE(at + 8),
      place: { file: this.#bytes.readBigUInt64LE(at + 16), offset: this.#bytes.readBigUInt64LE(at + 24) },
      droppedBytes: Number(this.#bytes.readBigUInt64LE(at + 32)),
    };
  }

  /**
   * The places of both streams, which say that all earlier pieces are logged, and the next piece: one write for each piece,
   * before it is logged.
   */
  recordIntent(
    places: Readonly<Record<LogStream, StreamPlace>>,
    { stream, ended, end, atUnixNano, place, droppedBytes }: LogIntent,
  ): void {
    this.#write((bytes) => {
      for (const name of streams) {
        bytes.writeBigUInt64LE(BigInt(places[name].logged), streamAt[name]);
        bytes.writeBigInt64LE(places[name].continuedAtUnixNano, streamAt[name] + 8);
      }
      const at = intentFieldsAt;
      bytes[intentAt] = 1 + (streams.indexOf(stream) << 1) + (ended ? 1 : 0);
      bytes.writeBigUInt64LE(BigInt(end), at);
      bytes.writeBigInt64LE(atUnixNano, at + 8);
      bytes.writeBigUInt64LE(place.file, at + 16);
      bytes.writeBigUInt64LE(place.offset, at + 24);
      bytes.writeBigUInt64LE(BigInt(droppedBytes), at + 32);
    });
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  #write(change: (bytes: Buffer) => void): void {
    const next = this.#next;
    this.#bytes.copy(next);
    change(next);
    writeSync(this.#fd, next, 0, sizeBytes, 0);
    this.#next = this.#bytes;
    this.#bytes = next;
  }
}

export function removeLedger(dir: string): void {
  rmSync(join(dir, fileName), { force: true });
}

/**
 * Whether the program of an init that ended with this code after its shim was killed had run: a container that never ran is
 * begun anew, and has no exit. True where nobody wrote down what was done.
 */
export function hasRun(dir: string, exitCode: number): boolean {
  const bytes = Buffer.alloc(sizeBytes);
  try {
    const fd = openSync(join(dir, fileName), constants.O_RDONLY);
    try {
      if (readSync(fd, bytes, 0, sizeBytes, 0) < sizeBytes) return true;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return true;
    throw error;
  }
  if (startOf(bytes) === 0n) return false;
  return bytes[releaseAt] !== releases.underWay || exitCode !== neverRanExitCode;
}

function startOf(bytes: Buffer): bigint {
  return bytes.readBigInt64LE(startedAt);
}
