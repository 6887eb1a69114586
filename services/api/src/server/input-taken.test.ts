import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { InputQueue } from '../domain/input-queue.ts';
import { InputTaken } from './input-taken.ts';
import { sizeOf } from './read-input.ts';

const replaced = new FlotillaError('unavailable', 'ask again', { reason: 'SHIM_REPLACED' });
const dropped = new FlotillaError('unavailable', 'connection dropped', { reason: 'SERVICE_UNAVAILABLE' });

/** Four messages, of which a first call was given three and its shim took one and two bytes; what a second call gets. */
async function secondCall(error: unknown, counts: boolean): Promise<string[]> {
  const queue = new InputQueue(sizeOf);
  for (const text of ['one', 'two', 'three', 'four']) {
    await queue.push({ message: { $case: 'stdin', value: Buffer.from(text) } });
  }
  const taken = new InputTaken(queue);
  const first = queue[Symbol.asyncIterator]();
  for (let i = 0; i < 3; i++) await first.next();
  if (counts) for (const bytes of [0n, 2n]) taken.note({ messages: 1n, bytes });
  taken.end(error);
  queue.close();
  assert.equal((await first.next()).done, true);
  const texts: string[] = [];
  for await (const { message } of queue) if (message?.$case === 'stdin') texts.push(String(message.value));
  return texts;
}

test('a shim that makes way leaves what it has not taken to the next one, to the byte', async () => {
  assert.deepEqual(await secondCall(replaced, true), ['o', 'three', 'four']);
});

test('what one that was killed, or does not count, was given is not sent again', async () => {
  assert.deepEqual(await secondCall(dropped, true), ['four']);
  assert.deepEqual(await secondCall(replaced, false), ['four']);
});
