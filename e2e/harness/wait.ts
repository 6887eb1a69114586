import { setTimeout as sleep } from 'node:timers/promises';

const shortestPauseMs = 50;
const longestPauseMs = 400;

/** Asks again and again, half of the time at most, until the answer is neither undefined nor false; fails, naming what was waited for, when time is over. */
export async function waitFor<T>(
  what: string,
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const askedAt = performance.now();
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await sleep(Math.min(Math.max(performance.now() - askedAt, shortestPauseMs), longestPauseMs));
  }
}
