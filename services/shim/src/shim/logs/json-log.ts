import { JsonLogEncoder, recordTail } from './json-log-encoder.ts';
import type { LogDriver, LogPiece, LogPlace } from './log-driver.ts';
import { RotatingFile, type RotatingFileOptions } from './rotating-file.ts';

/** A container's output as Docker's json-file log: one record a line, lines over 16 KiB in pieces. */
export class JsonLog implements LogDriver {
  readonly #encoder: JsonLogEncoder;
  readonly #file: RotatingFile;
  #store: (records: Uint8Array) => void;

  /** Opens the file. Throws what open(2) says. */
  constructor(file: RotatingFileOptions) {
    this.#file = new RotatingFile(file);
    this.#store = (records) => this.#file.write(records);
    this.#encoder = new JsonLogEncoder((records) => this.#store(records));
  }

  get place(): LogPlace {
    return this.#file.place;
  }

  write({ stream, data, atUnixNano, line, ended }: LogPiece): number {
    const now = recordTail(stream, atUnixNano);
    const taken = this.#encoder.encodeLines(data, now, line);
    if (ended && taken < data.length) this.#encoder.encodePartial(data.subarray(taken), now, line);
    this.#encoder.flush();
    return ended ? data.length : taken;
  }

  writeAgain(piece: LogPiece, place: LogPlace): number {
    const records: Buffer[] = [];
    const store = this.#store;
    this.#store = (part) => records.push(Buffer.from(part));
    try {
      const taken = this.write(piece);
      this.#file.writeAgain(Buffer.concat(records), place);
      return taken;
    } finally {
      this.#store = store;
    }
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }
}
