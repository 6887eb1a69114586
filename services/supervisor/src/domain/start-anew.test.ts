import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { aConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { createContainer } from './create-container.ts';
import type { Engine } from './engine.ts';
import { startContainer } from './start-container.ts';

const lost = new FlotillaError('aborted', 'killed', { reason: 'SHIM_LOST' });
const gone = new FlotillaError('unavailable', 'connection dropped', { reason: 'CONNECTION_LOST' });

/** An engine whose shims fail so to release init, one call after the other. */
function withFailures(world: FakeWorld, failures: readonly Error[]): { engine: Engine; calls: () => number } {
  const engine = world.engine();
  let calls = 0;
  const start: Engine['shims']['start'] = async (...args) => {
    const failure = failures[calls++];
    if (failure !== undefined) throw failure;
    return engine.shims.start(...args);
  };
  return { engine: { ...engine, shims: { ...engine.shims, start } }, calls: () => calls };
}

async function aContainer(engine: Engine): Promise<string> {
  const request = { config: aConfig(), name: 'one', idempotencyKey: '', bytes: Buffer.alloc(0) };
  return (await createContainer(engine, request)).containerId;
}

test('a start whose shim is killed before init is released is begun anew, under a new number', async () => {
  using world = new FakeWorld();
  const { engine } = withFailures(world, [lost]);
  const containerId = await aContainer(engine);
  assert.deepEqual(await startContainer(engine, containerId), { changed: true, run: 2 });
  assert.equal(engine.repository.get(containerId)?.state, 'running');
  assert.deepEqual(world.actions(), ['create', 'start']);
});

test('it is given up in the end, with the reason kept', async () => {
  using world = new FakeWorld();
  const { engine, calls } = withFailures(
    world,
    Array.from({ length: 9 }, () => lost),
  );
  const containerId = await aContainer(engine);
  await assert.rejects(startContainer(engine, containerId), lost);
  assert.equal(calls(), 3);
  assert.equal(engine.repository.get(containerId)?.state, 'created');
  assert.equal(world.tasks.size + world.sandboxes.size, 0);
});

test('a shim that takes over is asked again', async () => {
  using world = new FakeWorld();
  const { engine, calls } = withFailures(world, [gone, gone]);
  const containerId = await aContainer(engine);
  assert.deepEqual(await startContainer(engine, containerId), { changed: true, run: 1 });
  assert.equal(calls(), 3);
});

test('a start that is sent again after the run it began has ended does not run it twice', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const containerId = await aContainer(engine);
  await startContainer(engine, containerId, 0);
  await world.end(containerId, 0, engine);
  assert.deepEqual(await startContainer(engine, containerId, 0), { changed: false, run: 1 });
  assert.deepEqual(await startContainer(engine, containerId, 1), { changed: true, run: 2 });
});
