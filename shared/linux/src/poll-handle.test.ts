import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeFd, eventfd, pipe2, readFd, writeFd } from './descriptors.ts';
import { pidfdOpen } from './pidfd.ts';
import { closeWatched, watchReadable } from './poll-handle.ts';

const buffer = Buffer.alloc(64);

test('a pipe: called while there is something to read, and at its end', async () => {
  const { readFd: from, writeFd: to } = pipe2();
  const seen: string[] = [];
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const watch = watchReadable(from, () => {
    const length = readFd(from, buffer);
    if (length === 0) {
      watch.pause();
      resolve();
    } else if (length !== undefined) seen.push(buffer.toString('latin1', 0, length));
  });
  writeFd(to, Buffer.from('one'));
  await sleep(20);
  writeFd(to, Buffer.from('two'));
  await sleep(20);
  closeFd(to);
  await ended;
  assert.deepEqual(seen, ['one', 'two']);
  closeWatched(watch, from);
});

test('what is not read is told again; a pause holds it back', async () => {
  const fd = eventfd(1);
  let calls = 0;
  const watch = watchReadable(fd, () => calls++);
  while (calls < 3) await sleep(1);
  watch.pause();
  const before = calls;
  await sleep(20);
  assert.equal(calls, before);
  watch.resume();
  while (calls === before) await sleep(1);
  closeWatched(watch, fd);
});

test('promises that the callback settles go on at once', async () => {
  const fd = eventfd(1);
  const { promise, resolve } = Promise.withResolvers<void>();
  const watch = watchReadable(fd, () => {
    watch.pause();
    resolve();
  });
  await promise;
  closeWatched(watch, fd);
});

test('a process: its end', async () => {
  const child = spawn('sleep', ['0.05']);
  await once(child, 'spawn');
  const pidfd = pidfdOpen(child.pid!);
  const { promise, resolve } = Promise.withResolvers<void>();
  const watch = watchReadable(pidfd, () => {
    watch.pause();
    resolve();
  });
  await promise;
  closeWatched(watch, pidfd);
});

test('nothing is left of a hundred watches', async () => {
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 100; i++) {
    const fd = eventfd(0);
    closeWatched(
      watchReadable(fd, () => {}),
      fd,
    );
  }
  await sleep(20);
  assert.ok(readdirSync('/proc/self/fd').length <= before);
});
