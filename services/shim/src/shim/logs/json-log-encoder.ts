import { type LinePosition, type LogStream, longestLineBytes } from './log-driver.ts';

/** Room for the fixed parts of a record. */
const envelopeBytes = 160;
/** A byte that is escaped takes at most six: `\u0000`. */
const widestEscape = 6;

const newline = 0x0a;
const start = '{"log":"';
const prefix = Buffer.from(start);
const hexDigits = Buffer.from('0123456789abcdef');

/** 1 for bytes that stand for themselves: Go's encoder escapes controls, quotes, backslashes and what HTML minds. */
const plain = new Uint8Array(256);
for (let byte = 0x20; byte < 0x80; byte++) plain[byte] = '"\\<>&'.includes(String.fromCharCode(byte)) ? 0 : 1;

const plainChunkBytes = 4 * 1024;
const everyNewline = /\n/g;
/** Anything but newlines and what {@link plain} says. */
const needsEscape = /[^\n !#-%'-;=?-[\]-\x7f]/;

/** The end of a record of one stream at one time: after a whole line, and after a piece of one. */
export interface RecordTail {
  readonly stream: LogStream;
  readonly atUnixNano: bigint;
  readonly line: Uint8Array;
  readonly partial: Uint8Array;
  /** From the end of a line's text to the beginning of the next one's. */
  readonly between: string;
  /** Stands before the time: `"attrs":{…},`. Empty for none. */
  readonly attributes: string;
}

/**
 * Encodes lines as records of Docker's json-file log, byte for byte as Docker does, into one buffer that is reused. One
 * pass over the bytes without an allocation per line: this is the ceiling of a container's log throughput.
 */
export class JsonLogEncoder {
  /** Made at the first record: many containers never write. */
  #out: Buffer | undefined;
  #length = 0;
  readonly #flush: (records: Uint8Array) => void;
  readonly #largestRecordBytes: number;

  /** `flush` is given whole records and must be done with the buffer when it returns. */
  constructor(flush: (records: Uint8Array) => void, attributes = '') {
    this.#flush = flush;
    this.#largestRecordBytes = longestLineBytes * widestEscape + envelopeBytes + Buffer.byteLength(attributes);
  }

  /** Encodes the complete lines of `data`, long ones in pieces; returns where the unfinished last line begins. */
  encodeLines(data: Uint8Array, now: RecordTail, position: LinePosition): number {
    let lineStart = this.#encodePlainLines(data, now, position);
    while (lineStart < data.length) {
      const next = this.#encodeLine(data, lineStart, now, position);
      if (next === lineStart) break;
      lineStart = next;
    }
    return lineStart;
  }

  /** Encodes a piece of a line that goes on, or that ends without a newline because the stream does. */
  encodePartial(piece: Uint8Array, now: RecordTail, position: LinePosition): void {
    const tail = tailOf(position, now);
    position.continuedAtUnixNano = tail.atUnixNano;
    const out = this.#reserve();
    const at = encodeBytes(piece, 0, piece.length, out, putBytes(out, this.#length, prefix));
    this.#length = putBytes(out, at, tail.partial);
  }

  /** Hands over what is encoded. */
  flush(): void {
    if (this.#length === 0) return;
    const records = this.#out!.subarray(0, this.#length);
    this.#length = 0;
    this.#flush(records);
  }

  /**
   * The short way for a large chunk of short lines without anything to escape, as most are: V8 replaces in strings two times
   * as fast as it runs the loop below. Returns 0 when the chunk is another one.
   */
  #encodePlainLines(data: Uint8Array, now: RecordTail, position: LinePosition): number {
    const end = data.lastIndexOf(newline);
    if (position.continuedAtUnixNano !== 0n || end < plainChunkBytes || hasLongLine(data, end)) return 0;
    const text = Buffer.from(data.buffer, data.byteOffset, end).toString('latin1');
    if (needsEscape.test(text)) return 0;
    this.flush();
    const records = `${start}${text.replace(everyNewline, now.between)}${now.between.slice(0, -start.length)}`;
    const out = this.#reserve();
    if (records.length > out.length) this.#flush(Buffer.from(records, 'latin1'));
    else this.#length = out.write(records, 'latin1');
    return end + 1;
  }

  /** One line or one full piece of one; returns where the next begins, `start` itself when the line is unfinished. */
  #encodeLine(data: Uint8Array, start: number, now: RecordTail, position: LinePosition): number {
    const limit = Math.min(data.length, start + longestLineBytes);
    const out = this.#reserve();
    let at = putBytes(out, this.#length, prefix);
    let i = start;
    while (i < limit) {
      const byte = data[i]!;
      if (plain[byte] === 1) {
        out[at++] = byte;
        i++;
      } else if (byte === newline) {
        this.#length = putBytes(out, at, tailOf(position, now).line);
        position.continuedAtUnixNano = 0n;
        return i + 1;
      } else {
        const size = sequenceLength(data, i, limit);
        at = encodeBytes(data, i, i + size, out, at);
        i += size;
      }
    }
    if (limit - start < longestLineBytes) return start;
    const whole = start + wholeCharacters(data.subarray(start, limit));
    this.encodePartial(data.subarray(start, whole), now, position);
    return whole;
  }

  /** The buffer, with room for the largest record. */
  #reserve(): Buffer {
    this.#out ??= Buffer.allocUnsafeSlow(2 * this.#largestRecordBytes);
    if (this.#out.length - this.#length < this.#largestRecordBytes) this.flush();
    return this.#out;
  }
}

/** The end of records of a stream at a time in nanoseconds since the Unix epoch. */
export function recordTail(stream: LogStream, atUnixNano: bigint, attributes = ''): RecordTail {
  const end = `","stream":"${stream}",${attributes}"time":"${formatTime(atUnixNano)}"}\n`;
  return {
    stream,
    atUnixNano,
    line: Buffer.from(`\\n${end}`),
    partial: Buffer.from(end),
    between: `\\n${end}${start}`,
    attributes,
  };
}

/** All pieces of a line carry the time of the first. */
function tailOf({ continuedAtUnixNano }: LinePosition, now: RecordTail): RecordTail {
  return continuedAtUnixNano === 0n || continuedAtUnixNano === now.atUnixNano
    ? now
    : recordTail(now.stream, continuedAtUnixNano, now.attributes);
}

/** RFC3339Nano of Go's time package: as many digits of the second as it takes. */
export function formatTime(atUnixNano: bigint): string {
  const seconds = new Date(Number(atUnixNano / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  const fraction = (atUnixNano % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '');
  return fraction === '' ? `${seconds}Z` : `${seconds}.${fraction}Z`;
}

/** How many bytes of a full piece go into its record: a character that is cut at the end waits for its rest. */
export function wholeCharacters(piece: Uint8Array): number {
  for (let back = 1; back <= 3 && back < piece.length; back++) {
    const byte = piece[piece.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const wanted = byte >= 0xf0 && byte < 0xf5 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
    return byte < 0xf5 && wanted > back ? piece.length - back : piece.length;
  }
  return piece.length;
}

/** Whether a line before `end`, where a newline is, must be cut. */
function hasLongLine(data: Uint8Array, end: number): boolean {
  for (let lineStart = 0; lineStart + longestLineBytes <= end; ) {
    const lineEnd = data.lastIndexOf(newline, lineStart + longestLineBytes - 1);
    if (lineEnd < lineStart) return true;
    lineStart = lineEnd + 1;
  }
  return false;
}

function putBytes(out: Uint8Array, at: number, bytes: Uint8Array): number {
  out.set(bytes, at);
  return at + bytes.length;
}

/** Bytes from `start` to `end` as the inside of a JSON string. */
function encodeBytes(data: Uint8Array, start: number, end: number, out: Uint8Array, at: number): number {
  let o = at;
  for (let i = start; i < end; ) {
    const byte = data[i]!;
    if (plain[byte] === 1) {
      out[o++] = byte;
      i++;
    } else if (byte < 0x80) {
      o = escapeByte(byte, out, o);
      i++;
    } else {
      const size = sequenceLength(data, i, end);
      o = size === 1 ? putUnicode(0xfffd, out, o) : putCharacter(data, i, size, out, o);
      i += size;
    }
  }
  return o;
}

function escapeByte(byte: number, out: Uint8Array, at: number): number {
  const short = byte === newline ? 0x6e : byte === 0x0d ? 0x72 : byte === 0x22 || byte === 0x5c ? byte : 0;
  if (short === 0) return putUnicode(byte, out, at);
  out[at] = 0x5c;
  out[at + 1] = short;
  return at + 2;
}

/** U+2028 and U+2029 are escaped for JavaScript's sake, other characters are copied. */
function putCharacter(data: Uint8Array, from: number, size: number, out: Uint8Array, at: number): number {
  if (size === 3 && data[from] === 0xe2 && data[from + 1] === 0x80 && (data[from + 2]! & 0xfe) === 0xa8) {
    return putUnicode(0x2000 | (data[from + 2]! & 0x3f), out, at);
  }
  for (let i = 0; i < size; i++) out[at + i] = data[from + i]!;
  return at + size;
}

function putUnicode(code: number, out: Uint8Array, at: number): number {
  out[at] = 0x5c;
  out[at + 1] = 0x75;
  for (let digit = 0; digit < 4; digit++) out[at + 2 + digit] = hexDigits[(code >> (12 - 4 * digit)) & 0xf]!;
  return at + 6;
}

/** Length of the UTF-8 sequence at `at`; 1 for a byte that begins none, as utf8.DecodeRune has it. */
function sequenceLength(data: Uint8Array, at: number, end: number): number {
  const first = data[at]!;
  if (first < 0xc2 || first > 0xf4) return 1;
  const size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (at + size > end) return 1;
  const second = data[at + 1]!;
  const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 1;
  for (let i = 2; i < size; i++) if ((data[at + i]! & 0xc0) !== 0x80) return 1;
  return size;
}
