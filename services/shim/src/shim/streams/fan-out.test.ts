import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FanOut } from './fan-out.ts';
import type { OutputClient } from './output-client.ts';

const both = new Set(['stdout', 'stderr'] as const);

function make({ limitBytes = 10, patienceMs }: { limitBytes?: number; patienceMs?: number } = {}) {
  const holds: boolean[] = [];
  const fanOut = new FanOut({ limitBytes, patienceMs, onHold: (hold) => holds.push(hold) });
  return { fanOut, holds };
}

async function collect(client: OutputClient): Promise<string[]> {
  const seen: string[] = [];
  for await (const message of client) {
    if (message.kind === 'inputTaken') continue;
    seen.push(
      message.kind === 'ended' ? `ended ${message.exitCode}` : `${message.stream} ${Buffer.from(message.data)}`,
    );
  }
  return seen;
}

test('each client gets what it asked for, in order, and the end last', async () => {
  const { fanOut } = make();
  const everything = fanOut.attach(both);
  const errors = fanOut.attach(new Set(['stderr']));
  fanOut.push('stdout', Buffer.from('a'), 0);
  fanOut.push('stderr', Buffer.from('b'), 0);
  fanOut.push('stdout', Buffer.from('c'), 0);
  fanOut.end(3);
  assert.deepEqual(await collect(everything), ['stdout a', 'stderr b', 'stdout c', 'ended 3']);
  assert.deepEqual(await collect(errors), ['stderr b', 'ended 3']);
});

test('a client that comes after the end is told so', async () => {
  const { fanOut } = make();
  fanOut.end(0);
  assert.deepEqual(await collect(fanOut.attach(both)), ['ended 0']);
});

test('a client that waits is woken by output and by the end', async () => {
  const { fanOut } = make();
  const seen = collect(fanOut.attach(both));
  await sleep(1);
  fanOut.push('stdout', Buffer.from('late'), 0);
  await sleep(1);
  fanOut.end(1);
  assert.deepEqual(await seen, ['stdout late', 'ended 1']);
});

test('output is held back for a client that is behind, until it has half of its room', async () => {
  const { fanOut, holds } = make();
  const client = fanOut.attach(both);
  for (let i = 0; i < 3; i++) fanOut.push('stdout', Buffer.from('1234'), 0);
  assert.deepEqual(holds, [true]);
  const messages = client[Symbol.asyncIterator]();
  await messages.next();
  assert.deepEqual(holds, [true]); // 8 bytes of 10 wait
  await messages.next();
  assert.deepEqual(holds, [true, false]);
});

test('a client that stays behind is dropped with a reason; the others and the process go on', async () => {
  const { fanOut, holds } = make({ patienceMs: 20 });
  const slow = fanOut.attach(both);
  const quick = fanOut.attach(both);
  const seen = collect(quick);
  fanOut.push('stdout', Buffer.from('more than ten bytes'), 0);
  await sleep(60);
  assert.deepEqual(holds, [true, false]);
  await assert.rejects(collect(slow), { code: 'resource_exhausted', reason: 'CLIENT_TOO_SLOW' });
  fanOut.push('stdout', Buffer.from('x'), 0);
  fanOut.end(0);
  assert.deepEqual(await seen, ['stdout more than ten bytes', 'stdout x', 'ended 0']);
});

test('a client that goes while it is behind lets the process go on', () => {
  const { fanOut, holds } = make();
  const client = fanOut.attach(both);
  fanOut.push('stdout', Buffer.from('more than ten bytes'), 0);
  fanOut.detach(client);
  assert.deepEqual(holds, [true, false]);
  assert.equal(fanOut.clientCount, 0);
});

test('what a process left behind at its end is never held back, and still delivered', async () => {
  const { fanOut, holds } = make();
  const client = fanOut.attach(both);
  fanOut.push('stdout', Buffer.from('more than ten bytes'), 0);
  fanOut.release();
  fanOut.push('stdout', Buffer.from(' and more of them'), 0);
  fanOut.end(0);
  assert.deepEqual(holds, [true, false]);
  assert.equal((await collect(client)).length, 3);
});
