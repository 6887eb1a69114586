/** A length as a varint has at most so many bytes here: 2^28 is far above any message's limit. */
const longestVarint = 4;

/** Puts a message behind its length, as protobuf's writeDelimitedTo does. */
export function encodeFrame(message: Uint8Array): Buffer {
  const length: number[] = [];
  for (let rest = message.byteLength; ; rest >>>= 7) {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) break;
  }
  return Buffer.concat([Buffer.from(length), message]);
}

/** The message that bytes begin with, `undefined` while it is not whole. RangeError when it is longer than `mostBytes`. */
export function findFrame(bytes: Buffer, mostBytes: number): Buffer | undefined {
  let length = 0;
  for (let i = 0; i < longestVarint; i++) {
    const byte = bytes[i];
    if (byte === undefined) return undefined;
    length |= (byte & 0x7f) << (7 * i);
    if (byte > 0x7f) continue;
    if (length > mostBytes) break;
    return bytes.length > i + length ? bytes.subarray(i + 1, i + 1 + length) : undefined;
  }
  throw new RangeError(`message must have at most ${mostBytes} bytes`);
}
