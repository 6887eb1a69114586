import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { exitNow, waitpid } from '../process.ts';
import { forkCounts } from './counts.ts';
import { fork, restartLoop } from './verified-fork.ts';

// Run by fork.test.ts: `fork-stress.ts sync|async COUNT`. Forks again and again from a heap that keeps moving, and prints
// how the children ended.
const [kind, count] = [process.argv[2], Number(process.argv[3])];
const ends: Record<string, number> = {};
const atOnce = 8;
let junk: object[] = [];

for (let i = 0; i < count; i++) {
  for (let k = 0; k < 1_000; k++) junk.push({ k, text: `x${k}${i}` });
  if (junk.length > 20_000) junk = [];
  if (fork() === 0) await (kind === 'async' ? runAsynchronously() : compute(i));
  if (i % atOnce === atOnce - 1 || i === count - 1) reap();
}
console.log(JSON.stringify({ ends, ...forkCounts() }));

function reap(): void {
  for (
    let left = Object.values(ends).reduce((sum, n) => sum + n, 0);
    left < forkCounts().forks - forkCounts().replaced;
    left++
  ) {
    const { exitCode } = waitpid(-1);
    ends[exitCode] = (ends[exitCode] ?? 0) + 1;
  }
}

function compute(i: number): never {
  const things = Array.from({ length: 4_000 }, (_, k) => ({ k, text: String(k) }));
  const compiledHere = new Function('x', `return x * 2 + ${i}`) as (x: number) => number;
  let sum = 0;
  for (const thing of things) sum += compiledHere(thing.k) + JSON.stringify(thing).length;
  return exitNow(sum > 0 ? 42 : 3);
}

async function runAsynchronously(): Promise<never> {
  restartLoop();
  setTimeout(() => exitNow(9), 8_000);
  const [status] = await Promise.all([readFile('/proc/self/status', 'utf8'), sleep(2)]);
  const things = Array.from({ length: 4_000 }, (_, k) => ({ k, text: String(k) }));
  return exitNow(status.includes('VmRSS') && things.length === 4_000 ? 42 : 4);
}
