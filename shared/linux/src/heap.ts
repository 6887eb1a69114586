import { readFileSync } from 'node:fs';
import { libc } from './libc.ts';

const cMallocTrim = libc.func('int malloc_trim(size_t pad)');
const cMalloc = libc.func('uintptr_t malloc(size_t size)');
const cFree = libc.func('void free(uintptr_t memory)');
const cSbrk = libc.func('uintptr_t sbrk(intptr_t increment)');

const largestHole = 8 << 10;
const smallestHole = 24;
/** So many pieces in a row from beyond the old end: there is no hole of that size left. */
const enoughBeyond = 16;

/**
 * Readies malloc's memory for being forked from. Gives back what is free (malloc_trim(3)), then fills the holes between
 * what is in use and leaves them filled: a child would put its own things there, each on a page that it would have to
 * copy first. From now on new things lie side by side. For a process that forks often; costs what the holes hold.
 */
export function settleHeap(): void {
  cMallocTrim(0);
  const start = heapStart();
  if (start === undefined) return;
  const end = Number(cSbrk(0));
  const beyond: number[] = [];
  for (let size = largestHole; size >= smallestHole; size -= size > 1024 ? 1024 : 16) {
    for (let count = 0; count < enoughBeyond; ) {
      const at = Number(cMalloc(size));
      if (at >= start && at < end) continue;
      beyond.push(at);
      count++;
    }
  }
  for (const at of beyond) cFree(at);
}

function heapStart(): number | undefined {
  const line = /^([0-9a-f]+)-[0-9a-f]+ .*\[heap\]$/m.exec(readFileSync('/proc/self/maps', 'latin1'));
  return line === null ? undefined : Number.parseInt(line[1]!, 16);
}
