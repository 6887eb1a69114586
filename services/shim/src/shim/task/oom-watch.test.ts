import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventfd, writeFd } from '@flotilla/linux';
import { createLogger } from '@flotilla/log';
import { OomWatch } from './oom-watch.ts';

const log = createLogger({ service: 'test', level: 'silent' });
const one = Buffer.from(new BigUint64Array([1n]).buffer);

async function until(done: () => boolean): Promise<void> {
  while (!done()) await sleep(5);
}

test('a kill is told once that the kernel counts it, be it after the notice; and what came before, and what comes last', async () => {
  const told: number[] = [];
  let count = 1;
  const fd = eventfd();
  const cgroup = { oomKillCount: () => count, openOomNotifier: () => fd };
  using watch = new OomWatch({ cgroup, onKill: (killCount) => told.push(killCount), log });
  watch.start();
  assert.deepEqual(told, [1]);
  writeFd(fd, one);
  await sleep(30);
  assert.deepEqual(told, [1], 'a notice is no kill');
  count = 3;
  await until(() => told.length === 2);
  count = 4;
  watch.look();
  watch.look();
  assert.deepEqual(told, [1, 3, 4]);
});

test('without a notifier, and without a count, nothing is told', () => {
  const told: number[] = [];
  const cgroup = {
    oomKillCount: () => {
      throw new Error('gone');
    },
    openOomNotifier: () => {
      throw new Error('none');
    },
  };
  using watch = new OomWatch({ cgroup, onKill: (killCount) => told.push(killCount), log });
  watch.start();
  assert.deepEqual(told, []);
});
