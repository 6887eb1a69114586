import { readSync } from 'node:fs';

/** How records of a log stand in its file. */
export interface RecordFraming {
  /** The end of the first record that ends at or behind `least`. */
  endOf(records: Uint8Array, least: number): number;
  /** How much of a file is whole records. */
  wholeBytes(fd: number, sizeBytes: number): number;
}

const newline = 0x0a;
const tailBytes = 256 * 1024;
const chunkBytes = 64 * 1024;
/** Of the length before a record, and of the one behind it. */
export const lengthBytes = 4;

/** Records that end with a newline. */
export const lineFraming: RecordFraming = {
  endOf: (records, least) => records.indexOf(newline, Math.max(least - 1, 0)) + 1,
  wholeBytes: (fd, sizeBytes) => {
    const tail = Buffer.allocUnsafe(Math.min(sizeBytes, tailBytes));
    const start = sizeBytes - tail.length;
    const length = readSync(fd, tail, 0, tail.length, start);
    return start + tail.subarray(0, length).lastIndexOf(newline) + 1;
  },
};

/** Records between their length and their length again, big-endian. */
export const lengthFraming: RecordFraming = {
  endOf: (records, least) => {
    let end = 0;
    while (end < least) end += 2 * lengthBytes + readLength(records, end);
    return end;
  },
  // From the start on: at the end of a file that was cut short anything may look like a length.
  wholeBytes: (fd, sizeBytes) => {
    const chunk = Buffer.allocUnsafe(chunkBytes);
    let chunkAt = 0;
    let chunkLength = 0;
    for (let at = 0; ; ) {
      if (at + lengthBytes > chunkAt + chunkLength) {
        chunkAt = at;
        chunkLength = readSync(fd, chunk, 0, chunkBytes, at);
        if (chunkLength < lengthBytes) return at;
      }
      const end = at + 2 * lengthBytes + readLength(chunk, at - chunkAt);
      if (end > sizeBytes) return at;
      at = end;
    }
  },
};

function readLength(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
