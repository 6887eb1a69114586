import { wholeCharacters } from './json-log-encoder.ts';
import { type LogPiece, longestLineBytes } from './log-driver.ts';

const newline = 0x0a;

/** Whole lines, at most 16 KiB of them; or, without a newline at its end, a piece of one. */
export type TakeLines = (lines: Uint8Array, atUnixNano: bigint) => void;

/**
 * Cuts output where entries of a log end, as JsonLogEncoder does. Returns how many bytes were taken: an unfinished line
 * waits, unless it is longer than 16 KiB or its stream has ended. All pieces of a line carry the time of the first.
 * When `take` throws, `line` is as it was before what it was given then.
 */
export function cutLines({ data, atUnixNano, line, ended }: LogPiece, take: TakeLines): number {
  let at = 0;
  while (at < data.length) {
    const limit = Math.min(data.length, at + longestLineBytes);
    const continued = line.continuedAtUnixNano;
    // The end of a line that was begun has a time of its own, so it is taken alone.
    const nl = continued === 0n ? data.lastIndexOf(newline, limit - 1) : data.subarray(0, limit).indexOf(newline, at);
    if (nl >= at) {
      take(data.subarray(at, nl + 1), continued || atUnixNano);
      line.continuedAtUnixNano = 0n;
      at = nl + 1;
      continue;
    }
    const isFull = limit - at === longestLineBytes;
    if (!isFull && !ended) break;
    const piece = data.subarray(at, limit);
    const length = isFull ? wholeCharacters(piece) : piece.length;
    take(piece.subarray(0, length), continued || atUnixNano);
    line.continuedAtUnixNano = continued || atUnixNano;
    at += length;
  }
  return at;
}

/** Each line of what {@link cutLines} gave, without its newline; `isWhole` is false for a piece of one. */
export function eachLine(lines: Uint8Array, take: (text: Uint8Array, isWhole: boolean) => void): void {
  for (let at = 0; at < lines.length; ) {
    const nl = lines.indexOf(newline, at);
    const end = nl === -1 ? lines.length : nl;
    take(lines.subarray(at, end), nl !== -1);
    at = end + 1;
  }
}
