// A program for wake-descriptors.test.ts: forks, from a loop that runs, children that close what they have and collect garbage.
import { setTimeout as sleep } from 'node:timers/promises';
import { closeAllBut } from '../descriptors.ts';
import { exitNow, waitpid } from '../process.ts';
import { fork } from './verified-fork.ts';
import { wakeDescriptors } from './wake-descriptors.ts';

const children = 5;
const things: object[] = [];
const ends: number[] = [];
for (let i = 0; i < children; i++) {
  await sleep(5); // the loop has nothing left that it was woken for
  const kept = wakeDescriptors();
  const pid = fork();
  if (pid === 0) {
    closeAllBut(kept);
    for (let k = 0; k < 300_000; k++) things.push({ k, text: `x${k}` });
    exitNow(42);
  }
  ends.push(waitpid(pid).exitCode);
}
console.log(JSON.stringify(ends));
