import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { aConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { createContainer } from './create-container.ts';
import type { Engine } from './engine.ts';
import { killContainer } from './kill-container.ts';
import { pauseContainer } from './pause-container.ts';
import { startContainer } from './start-container.ts';

/** SQLite's own word for it. */
function fullDisk(): unknown {
  const database = new DatabaseSync(':memory:');
  try {
    database.exec('CREATE TABLE t (a); PRAGMA max_page_count = 2');
    database.prepare('INSERT INTO t VALUES (?)').run('x'.repeat(100_000));
  } catch (error) {
    return error;
  }
  return assert.fail('it is not full');
}

/** From the end of a step on nothing can be stored; a little later there is room again. Counts what was refused. */
function fillAfter(
  engine: Engine,
  step: 'start' | 'pause' | 'kill',
): { readonly engine: Engine; readonly refused: () => number } {
  const { repository, shims } = engine;
  const full = fullDisk();
  const save = repository.save.bind(repository);
  let isFull = false;
  let refused = 0;
  repository.save = (change) => {
    if (!isFull) return save(change);
    refused++;
    throw full;
  };
  const filled =
    <T extends readonly unknown[], R>(work: (...args: T) => Promise<R>) =>
    async (...args: T): Promise<R> => {
      const result = await work(...args);
      isFull = true;
      setTimeout(() => {
        isFull = false;
      }, 250);
      return result;
    };
  const changed = {
    start: { start: filled(shims.start) },
    pause: { pause: filled(shims.pause) },
    kill: { kill: filled(shims.kill) },
  };
  return { engine: { ...engine, shims: { ...shims, ...changed[step] } }, refused: () => refused };
}

async function aContainer(engine: Engine): Promise<string> {
  const request = { config: aConfig(), name: 'one', idempotencyKey: '', bytes: Buffer.alloc(0) };
  return (await createContainer(engine, request)).containerId;
}

test('a container that was started while the disk became full is not started twice, but stored when there is room', async () => {
  using world = new FakeWorld();
  const { engine, refused } = fillAfter(world.engine(), 'start');
  const containerId = await aContainer(engine);
  assert.deepEqual(await startContainer(engine, containerId), { changed: true, run: 1 });
  assert.equal(engine.repository.get(containerId)?.state, 'running');
  assert.ok(refused() > 0);
  assert.deepEqual(world.actions(), ['create', 'start']);
});

test('one that was frozen meanwhile is paused, with its event', async () => {
  using world = new FakeWorld();
  const { engine, refused } = fillAfter(world.engine(), 'pause');
  const containerId = await aContainer(engine);
  await startContainer(engine, containerId);
  await pauseContainer(engine, containerId);
  assert.equal(engine.repository.get(containerId)?.state, 'paused');
  assert.ok(refused() > 0);
  assert.deepEqual(world.actions(), ['create', 'start', 'pause']);
});

test('a signal that was sent meanwhile is told of', async () => {
  using world = new FakeWorld();
  const { engine, refused } = fillAfter(world.engine(), 'kill');
  const containerId = await aContainer(engine);
  await startContainer(engine, containerId);
  await killContainer(engine, containerId, 'USR1');
  assert.ok(refused() > 0);
  assert.deepEqual(world.actions(), ['create', 'start', 'kill']);
});
