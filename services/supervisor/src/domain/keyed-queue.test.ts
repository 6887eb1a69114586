import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KeyedQueue } from './keyed-queue.ts';

test('work on one key is done in order, also after a failure, and nothing is kept', async () => {
  const queue = new KeyedQueue();
  const done: string[] = [];
  const slow = queue.run('a', async () => {
    await sleep(20);
    done.push('slow');
  });
  const failing = queue.run('a', async () => {
    done.push('failing');
    throw new Error('on purpose');
  });
  const last = queue.run('a', async () => void done.push('last'));
  const other = queue.run('b', async () => void done.push('other'));
  await assert.rejects(failing, /on purpose/);
  await Promise.all([slow, last, other]);
  assert.deepEqual(done, ['other', 'slow', 'failing', 'last']);
  assert.equal(queue.size, 0);
});
