import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { watchProcess } from './watch-process.ts';

const openFds = () => readdirSync('/proc/self/fd').length;

test('tells of the end of a process, once, and keeps nothing', async () => {
  const child = spawn('sleep', ['600']);
  await once(child, 'spawn');
  const before = openFds();
  let calls = 0;
  const ended = Promise.withResolvers<void>();
  const watch = watchProcess(child.pid!, () => {
    calls += 1;
    ended.resolve();
  });
  assert.ok(watch !== undefined);
  child.kill('SIGKILL');
  await ended.promise;
  await once(child, 'close');
  watch[Symbol.dispose]();
  assert.equal(calls, 1);
  assert.ok(openFds() <= before, 'its descriptor is closed');
  assert.equal(
    watchProcess(child.pid!, () => {}),
    undefined,
  );
});

test('is silent once it is disposed of', async () => {
  const child = spawn('sleep', ['600']);
  await once(child, 'spawn');
  const watch = watchProcess(child.pid!, () => assert.fail('it was told not to'));
  watch?.[Symbol.dispose]();
  child.kill('SIGKILL');
  await once(child, 'close');
  await new Promise((resolve) => setImmediate(resolve));
});
