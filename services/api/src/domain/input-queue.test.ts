import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { InputQueue } from './input-queue.ts';

const mebibyte = 1 << 20;

function readAll(queue: InputQueue<number>): { readonly seen: number[]; readonly end: Promise<void> } {
  const seen: number[] = [];
  const read = async () => {
    for await (const item of queue) seen.push(item);
  };
  return { seen, end: read() };
}

async function write(queue: InputQueue<number>): Promise<void> {
  for (let i = 0; i < 40; i++) await queue.push(i);
  queue.close();
}

test('a reader that counts gets no more than is kept for the next one, until it has taken some', async () => {
  const queue = new InputQueue<number>(() => mebibyte);
  const { seen, end } = readAll(queue);
  queue.taken(0);
  const written = write(queue);
  await sleep(20);
  assert.equal(seen.length, 16);
  queue.taken(10);
  await sleep(20);
  assert.equal(seen.length, 26);
  queue.endReading((given) => given);
  await end;
  const next = readAll(queue);
  await Promise.all([written, next.end]);
  assert.deepEqual(
    next.seen,
    Array.from({ length: 30 }, (_, i) => i + 10),
  );
});

test('of one that does not count, no more is kept than that', async () => {
  const queue = new InputQueue<number>(() => mebibyte);
  const { seen, end } = readAll(queue);
  await Promise.all([write(queue), end]);
  assert.equal(seen.length, 40);
  let kept: readonly number[] | undefined;
  queue.endReading((given) => {
    kept = given;
    return [];
  });
  assert.deepEqual(kept, []);
});
