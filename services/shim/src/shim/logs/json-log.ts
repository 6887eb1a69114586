import { JsonLogEncoder, recordTail } from './json-log-encoder.ts';
import type { LogDriver, LogPiece, LogPlace } from './log-driver.ts';
import { lineFraming } from './record-framing.ts';
import { RotatingFile, type RotatingFileOptions } from './rotating-file.ts';

/** A container's output as Docker's json-file log: one record a line, lines over 16 KiB in pieces. */
export class JsonLog implements LogDriver {
  readonly #encoder: JsonLogEncoder;
  readonly #file: RotatingFile;
  readonly #attributes: string;
  #store: (records: Uint8Array) => void;

  /** Opens the file. Throws what open(2) says. `attributes` are written with each record. */
  constructor(file: Omit<RotatingFileOptions, 'framing'>, attributes: Readonly<Record<string, string>> = {}) {
    this.#attributes = Object.keys(attributes).length === 0 ? '' : `"attrs":${toGoJson(attributes)},`;
    this.#file = new RotatingFile({ ...file, framing: lineFraming });
    this.#store = (records) => this.#file.write(records);
    this.#encoder = new JsonLogEncoder((records) => this.#store(records), this.#attributes);
  }

  get place(): LogPlace {
    return this.#file.place;
  }

  write({ stream, data, atUnixNano, line, ended }: LogPiece): number {
    const now = recordTail(stream, atUnixNano, this.#attributes);
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

/** Sorted by name, and without what HTML minds, as Go encodes a map. */
function toGoJson(attributes: Readonly<Record<string, string>>): string {
  const names = Object.keys(attributes).sort();
  const json = JSON.stringify(Object.fromEntries(names.map((name) => [name, attributes[name]])));
  return json.replace(/[<>&\u2028\u2029]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
