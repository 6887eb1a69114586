import { invalidField } from '@flotilla/errors';

/** Docker's: ctrl-p, then ctrl-q. */
const usual = 'ctrl-p,ctrl-q';

/**
 * Reads `ctrl-p,ctrl-q`, `ctrl-@`, `a`, `ctrl-\,x` into the bytes that a terminal sends for them. Empty text means the usual
 * keys. INVALID_FIELD when a key is none.
 */
export function parseDetachKeys(text: string): Buffer {
  return Buffer.from((text === '' ? usual : text).split(',').map((key) => keyByte(key, text)));
}

function keyByte(key: string, text: string): number {
  const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1];
  // ASCII: a control character is the letter's code without its upper three bits.
  if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 0x1f;
  if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0);
  throw invalidField('detach_keys', 'a list of characters or ctrl-<letter, @, [, \\, ], ^ or _>', text);
}

/** What a piece of input holds. */
export interface ScannedInput {
  /** To be passed on. */
  readonly data: Buffer;
  /** The keys were pressed: what follows them is dropped. */
  readonly detached: boolean;
}

/**
 * Looks for the detach keys in a stream of input, across its pieces. Keys that may become the sequence are held back
 * until it is clear that they do not.
 */
export class DetachScanner {
  readonly #keys: Buffer;
  #held = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  scan(piece: Buffer): ScannedInput {
    const out: number[] = [];
    for (const byte of piece) {
      if (byte === this.#keys[this.#held]) {
        this.#held++;
        if (this.#held === this.#keys.length) return { data: Buffer.from(out), detached: true };
        continue;
      }
      out.push(...this.#giveUp(byte));
    }
    return { data: Buffer.from(out), detached: false };
  }

  /** What is still held back when the input ends. */
  flush(): Buffer {
    const held = this.#keys.subarray(0, this.#held);
    this.#held = 0;
    return Buffer.from(held);
  }

  /** The byte does not go on with the sequence; but it, or a part of what was held back, may begin it anew. */
  #giveUp(byte: number): number[] {
    const pending = [...this.#keys.subarray(0, this.#held), byte];
    for (let start = 1; start <= pending.length; start++) {
      const rest = pending.slice(start);
      if (rest.every((value, index) => value === this.#keys[index])) {
        this.#held = rest.length;
        return pending.slice(0, start);
      }
    }
    return pending;
  }
}
