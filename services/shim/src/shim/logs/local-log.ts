import { cutLines } from './cut-lines.ts';
import type { LogDriver, LogPiece, LogPlace, LogStream } from './log-driver.ts';
import { lengthBytes, lengthFraming } from './record-framing.ts';
import { RotatingFile, type RotatingFileOptions } from './rotating-file.ts';

/** Room for some records of 16 KiB. */
const bufferBytes = 128 * 1024;
// Fields of flotilla.log.v1.LocalLogRecord, by number and wire type.
const streamTag = 0x08;
const timeTag = 0x11;
const dataTag = 0x1a;
/** Both lengths, stream, time, and data of less than 2 MiB. */
const envelopeBytes = 2 * lengthBytes + 2 + 9 + 4;
const numbers: Readonly<Record<LogStream, number>> = { stdout: 1, stderr: 2 };

/**
 * A container's output in few bytes: lines as they are, many to a record, between a time and the lengths that make the file
 * readable from both ends. See README.md.
 */
export class LocalLog implements LogDriver {
  readonly #file: RotatingFile;
  /** Made at the first record: many containers never write. */
  #out: Buffer | undefined;

  /** Opens the file. Throws what open(2) says. */
  constructor(file: Omit<RotatingFileOptions, 'framing'>) {
    this.#file = new RotatingFile({ ...file, framing: lengthFraming });
  }

  get place(): LogPlace {
    return this.#file.place;
  }

  write(piece: LogPiece): number {
    return this.#encode(piece, (records) => this.#file.write(records));
  }

  writeAgain(piece: LogPiece, place: LogPlace): number {
    const parts: Buffer[] = [];
    const taken = this.#encode(piece, (records) => parts.push(Buffer.from(records)));
    this.#file.writeAgain(Buffer.concat(parts), place);
    return taken;
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  /** `store` must be done with what it is given when it returns. */
  #encode({ stream, ...piece }: LogPiece, store: (records: Uint8Array) => void): number {
    this.#out ??= Buffer.allocUnsafeSlow(bufferBytes);
    const out = this.#out;
    let length = 0;
    const flush = () => {
      if (length > 0) store(out.subarray(0, length));
      length = 0;
    };
    const taken = cutLines({ stream, ...piece }, (lines, atUnixNano) => {
      if (out.length - length < lines.length + envelopeBytes) flush();
      length = putRecord(out, length, numbers[stream], atUnixNano, lines);
    });
    flush();
    return taken;
  }
}

/** Returns where the next record goes. */
function putRecord(out: Buffer, start: number, stream: number, atUnixNano: bigint, data: Uint8Array): number {
  let at = start + lengthBytes;
  out[at++] = streamTag;
  out[at++] = stream;
  out[at++] = timeTag;
  at = out.writeBigUInt64LE(atUnixNano, at);
  out[at++] = dataTag;
  for (let rest = data.length; ; rest >>>= 7) {
    out[at++] = rest > 0x7f ? (rest & 0x7f) | 0x80 : rest;
    if (rest <= 0x7f) break;
  }
  out.set(data, at);
  at += data.length;
  const length = at - start - lengthBytes;
  out.writeUInt32BE(length, start);
  return out.writeUInt32BE(length, at);
}
