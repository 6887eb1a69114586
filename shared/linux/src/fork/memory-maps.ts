import { closeSync, openSync, readSync } from 'node:fs';
import { libc } from '../libc.ts';

const cMadvise = libc.func('int madvise(uintptr_t start, size_t length, int advice)');

const MADV_DOFORK = 11;
/** Nothing can be mapped below it; a multiple of every page size. */
const lowestAddress = 1 << 16;
/** Of user space with 48 bits (x86-64 has 47): nothing is above it unless it was asked for there. */
const addressEnd = 2 ** 48 - lowestAddress;
const newline = 10;
const space = 32;
const dash = 45;

// All memory used here is taken once: a page that is taken while the maps are read is one that the maps do not show.
const text = Buffer.allocUnsafeSlow(1 << 20);
const ranges = new Float64Array(1 << 15);
const otherRanges = new Float64Array(1 << 15);
const chunk = Buffer.allocUnsafeSlow(1 << 12);
const otherChunk = Buffer.allocUnsafeSlow(1 << 12);
const hexDigits = Uint8Array.from({ length: 256 }, (_, code) =>
  Math.max(0, '0123456789abcdef'.indexOf(String.fromCharCode(code))),
);

/** Ranges that between them cover all of this process' memory but what the kernel refuses, as [vvar]: start and end. */
let spans: readonly number[] | undefined;

/**
 * V8 keeps its heap out of forks with MADV_DONTFORK; this undoes it for all memory. madvise(2) passes over holes (ENOMEM)
 * and stops at mappings of the kernel's own only, which stay where they are in every child: so a few calls do. The very
 * last page that V8 takes may still be missed: hence `hasMemoryOf` in the child.
 */
export function makeForkable(): void {
  spans ??= findSpans();
  for (let i = 0; i < spans.length; i += 2) cMadvise(spans[i], spans[i + 1]! - spans[i]!, MADV_DOFORK);
}

function findSpans(): number[] {
  const count = parseMaps(text, readMaps('/proc/self/maps', text), ranges);
  const found: number[] = [];
  let start = lowestAddress;
  for (let i = 0; i < count && ranges[i]! < addressEnd; i += 2) {
    if (cMadvise(ranges[i], ranges[i + 1]! - ranges[i]!, MADV_DOFORK) === 0) continue;
    found.push(start, ranges[i]!);
    start = ranges[i + 1]!;
  }
  found.push(start, addressEnd);
  return found;
}

/**
 * In a forked child whose parent stands still: whether it has every mapping that the parent has. Reads both maps side by
 * side in small pieces, because each page written here is a page of the child's own; looks closer only if they differ.
 */
export function hasMemoryOf(parentPid: number): boolean {
  return coversMaps(`/proc/${parentPid}/maps`, '/proc/self/maps');
}

/** The same asked by the parent, for a child that stands still; false when the child has died. */
export function wasForkedWhole(childPid: number): boolean {
  return coversMaps('/proc/self/maps', `/proc/${childPid}/maps`);
}

function coversMaps(wantedPath: string, hadPath: string): boolean {
  return sameText(wantedPath, hadPath) || coversRanges(wantedPath, hadPath);
}

function sameText(path: string, otherPath: string): boolean {
  const fd = openSync(path, 'r');
  const otherFd = openSync(otherPath, 'r');
  try {
    for (;;) {
      const length = readSync(fd, chunk, 0, chunk.length, null);
      if (length !== readSync(otherFd, otherChunk, 0, otherChunk.length, null)) return false;
      if (length === 0) return true;
      if (chunk.compare(otherChunk, 0, length, 0, length) !== 0) return false;
    }
  } finally {
    closeSync(fd);
    closeSync(otherFd);
  }
}

function coversRanges(wantedPath: string, hadPath: string): boolean {
  const wanted = parseMaps(text, readMaps(wantedPath, text), ranges);
  const had = parseMaps(text, readMaps(hadPath, text), otherRanges);
  return covers(otherRanges.subarray(0, had), ranges.subarray(0, wanted));
}

function readMaps(path: string, into: Buffer): number {
  const fd = openSync(path, 'r');
  try {
    for (let length = 0; ; ) {
      const read = readSync(fd, into, length, into.length - length, null);
      if (read === 0) return length;
      length += read;
      if (length === into.length) throw new RangeError(`${path} has more than ${length} bytes`);
    }
  } finally {
    closeSync(fd);
  }
}

/** Start and end of each line, `559e81c00000-559e81c01000 r--p …`, one after the other; returns how many numbers. */
function parseMaps(maps: Buffer, length: number, into: Float64Array): number {
  let at = 0;
  let count = 0;
  const number = (end: number): number => {
    let value = 0;
    for (; maps[at] !== end; at++) value = value * 16 + hexDigits[maps[at]!]!;
    at++;
    return value;
  };
  while (at < length) {
    if (count + 2 > into.length) throw new RangeError(`more than ${into.length / 2} mappings`);
    into[count++] = number(dash);
    into[count++] = number(space);
    while (maps[at++] !== newline);
  }
  return count;
}

/** Whether every range of `wanted` lies inside the union of `had`; both are sorted pairs of start and end. */
export function covers(had: Float64Array, wanted: Float64Array): boolean {
  let at = 0;
  for (let i = 0; i < wanted.length; i += 2) {
    let start = wanted[i]!;
    const end = wanted[i + 1]!;
    while (start < end) {
      while (at < had.length && had[at + 1]! <= start) at += 2;
      if (at >= had.length || had[at]! > start) return false;
      start = had[at + 1]!;
    }
  }
  return true;
}
