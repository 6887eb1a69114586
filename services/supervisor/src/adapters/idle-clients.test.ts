import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { IdleClients } from './idle-clients.ts';

const idleMs = 20;

class Connection implements Disposable {
  closed = false;

  [Symbol.dispose](): void {
    this.closed = true;
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!holds()) {
    if (performance.now() > end) assert.fail(what);
    await sleep(5);
  }
}

test('one client for calls that follow each other, another once it was idle', async () => {
  using clients = new IdleClients(() => new Connection(), idleMs);
  const first = await clients.use('a', async (client) => client);
  assert.equal(await clients.use('a', async (client) => client), first);
  await until('the idle one is closed', () => first.closed);
  assert.equal(clients.size, 0);
  const second = await clients.use('a', async (client) => client);
  assert.notEqual(second, first);
  assert.equal(second.closed, false);
});

test('a client in use is not closed, nor does it keep others open', async () => {
  using clients = new IdleClients(() => new Connection(), idleMs);
  const done = Promise.withResolvers<void>();
  const long = clients.use('long', async (client) => {
    await done.promise;
    return client.closed;
  });
  const other = await clients.use('other', async (client) => client);
  await until('the idle one is closed', () => other.closed);
  done.resolve();
  assert.equal(await long, false);
  await until('both are closed', () => clients.size === 0);
});
