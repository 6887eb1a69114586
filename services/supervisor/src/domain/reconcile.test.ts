import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { aConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { createContainer } from './create-container.ts';
import type { Engine } from './engine.ts';
import { reconcile } from './reconcile.ts';
import { removeContainer } from './remove-container.ts';
import { startContainer } from './start-container.ts';
import { stopContainer } from './stop-container.ts';

// A supervisor that is killed is an engine whose steps never end: its calls are left where they are, and a new engine
// is made over the same store and the same world.

/** Calls, waits until the step is reached, and leaves the call there for ever. */
async function killedIn(world: FakeWorld, step: string, call: () => Promise<unknown>): Promise<void> {
  const { promise: reached, resolve } = Promise.withResolvers<void>();
  const original = world.step.bind(world);
  world.step = async (name) => {
    await original(name);
    if (name !== step) return;
    resolve();
    await new Promise(() => {});
  };
  call().catch(() => {});
  await reached;
  world.step = original;
}

/** With `failures`, the shims fail so to release init, one call after the other. */
async function restarted(world: FakeWorld, failures: readonly Error[] = []): Promise<Engine> {
  const engine = world.engine();
  const { start } = engine.shims;
  const left = [...failures];
  engine.shims.start = async (...args) => {
    const failure = left.shift();
    if (failure !== undefined) throw failure;
    return start.apply(engine.shims, args);
  };
  reconcile(engine, engine.monitor, new AbortController().signal);
  do await sleep(5);
  while (engine.queue.size > 0);
  return engine;
}

async function running(world: FakeWorld, config = aConfig()): Promise<string> {
  const engine = world.engine();
  const { containerId } = await createContainer(engine, {
    config,
    name: 'one',
    idempotencyKey: '',
    bytes: Buffer.alloc(0),
  });
  await startContainer(engine, 'one');
  return containerId;
}

function once(actions: readonly string[]): void {
  assert.deepEqual(actions, [...new Set(actions)], 'each kind of event once');
}

test('a running container is adopted and nothing is announced', async () => {
  using world = new FakeWorld();
  const containerId = await running(world);
  const engine = await restarted(world);
  assert.equal(engine.repository.get(containerId)?.state, 'running');
  assert.equal(engine.repository.get(containerId)?.task?.shimPid, 100);
  assert.deepEqual(world.actions(), ['create', 'start']);
  await world.end(containerId, 0, engine);
  assert.deepEqual(world.actions(), ['create', 'start', 'die']);
});

test('one that ended meanwhile has its exit code and one event', async () => {
  using world = new FakeWorld();
  const containerId = await running(world);
  await world.end(containerId, 42);
  const engine = await restarted(world);
  const record = engine.repository.get(containerId);
  assert.deepEqual([record?.state, record?.exitCode], ['exited', 42]);
  assert.deepEqual(world.actions(), ['create', 'start', 'die']);
  assert.deepEqual([...world.tasks.keys(), ...world.sandboxes], []);
});

test('one whose shim died goes on, and its end is found in the file', async () => {
  using world = new FakeWorld();
  const containerId = await running(world);
  world.tasks.get(containerId)!.shimLives = false;
  const engine = world.engine();
  reconcile(engine, engine.monitor, new AbortController().signal);
  assert.equal(engine.repository.get(containerId)?.state, 'running');
  await world.end(containerId, 7);
  engine.monitor.look();
  await sleep(10);
  assert.deepEqual(
    [engine.repository.get(containerId)?.state, engine.repository.get(containerId)?.exitCode],
    ['exited', 7],
  );
});

test('one that is gone without a trace is exited with 255, after a moment of grace, and says why', async (t) => {
  using world = new FakeWorld();
  const containerId = await running(world);
  world.tasks.clear();
  const engine = world.engine();
  reconcile(engine, engine.monitor, new AbortController().signal);
  assert.equal(engine.repository.get(containerId)?.state, 'running');
  const later = performance.now() + 4_000;
  t.mock.method(performance, 'now', () => later);
  engine.monitor.look();
  await sleep(10);
  const record = engine.repository.get(containerId);
  assert.deepEqual([record?.state, record?.exitCode], ['exited', 255]);
  assert.match(record?.error ?? '', /nobody saw/);
});

for (const step of ['resolve', 'prepareSnapshot', 'check']) {
  test(`killed in create after ${step}: the container is taken back`, async () => {
    using world = new FakeWorld();
    const engine = world.engine();
    const request = { config: aConfig(), name: 'one', idempotencyKey: '', bytes: Buffer.alloc(0) };
    await killedIn(world, step, () => createContainer(engine, request));
    const next = await restarted(world);
    assert.deepEqual([...next.repository.all()], []);
    assert.deepEqual([...world.snapshots], []);
    assert.deepEqual(world.actions(), []);
  });
}

for (const step of ['attach', 'launch', 'launched', 'start', 'started']) {
  test(`killed in start after ${step}: the start is driven on, announced once`, async () => {
    using world = new FakeWorld();
    const engine = world.engine();
    const request = { config: aConfig(), name: 'one', idempotencyKey: '', bytes: Buffer.alloc(0) };
    const { containerId } = await createContainer(engine, request);
    await killedIn(world, step, () => startContainer(engine, 'one'));
    const next = await restarted(world);
    assert.equal(next.repository.get(containerId)?.state, 'running');
    assert.equal(next.repository.get(containerId)?.run, 1);
    assert.deepEqual(world.actions(), ['create', 'start']);
  });
}

test('killed in start, and the shim too, before init was released: another run is begun', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const request = { config: aConfig(), name: 'one', idempotencyKey: '', bytes: Buffer.alloc(0) };
  const { containerId } = await createContainer(engine, request);
  await killedIn(world, 'launched', () => startContainer(engine, 'one'));
  const lost = new FlotillaError('aborted', 'killed', { reason: 'SHIM_LOST' });
  const dropped = new FlotillaError('unavailable', 'connection dropped', { reason: 'CONNECTION_LOST' });
  const next = await restarted(world, [dropped, lost]);
  assert.equal(next.repository.get(containerId)?.state, 'running');
  assert.equal(next.repository.get(containerId)?.run, 2);
  assert.deepEqual(world.actions(), ['create', 'start']);
});

test('killed in start, and the container has ended since: started and died, once each', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const request = { config: aConfig(), name: 'one', idempotencyKey: '', bytes: Buffer.alloc(0) };
  const { containerId } = await createContainer(engine, request);
  await killedIn(world, 'started', () => startContainer(engine, 'one'));
  await world.end(containerId, 5);
  const next = await restarted(world);
  assert.equal(next.repository.get(containerId)?.exitCode, 5);
  assert.deepEqual(world.actions(), ['create', 'start', 'die']);
});

test('killed in stop before the signal went: it is sent again, and all is announced once', async () => {
  using world = new FakeWorld();
  const containerId = await running(world);
  const engine = world.engine();
  await killedIn(world, 'kill', () => stopContainer(engine, 'one', { signal: '', timeoutSeconds: 5 }));
  const next = await restarted(world);
  await sleep(10);
  assert.deepEqual(
    [next.repository.get(containerId)?.state, next.repository.get(containerId)?.exitCode],
    ['exited', 143],
  );
  assert.deepEqual(world.actions(), ['create', 'start', 'kill', 'stop', 'die']);
  once(world.actions());
});

test('killed in remove: the removal is driven on, announced once', async () => {
  using world = new FakeWorld();
  const containerId = await running(world);
  const engine = world.engine();
  await world.end(containerId, 0, engine);
  await sleep(10);
  await killedIn(world, 'removeSnapshot', () => removeContainer(engine, 'one', { force: false, removeVolumes: true }));
  const next = await restarted(world);
  assert.deepEqual([...next.repository.all()], []);
  assert.deepEqual(world.actions(), ['create', 'start', 'die', 'destroy']);
  assert.deepEqual([...world.snapshots], []);
});

test('one that is to be removed when it exits, and exited meanwhile, is removed', async () => {
  using world = new FakeWorld();
  const containerId = await running(world, aConfig({ autoRemove: true }));
  await world.end(containerId, 0);
  const engine = await restarted(world);
  await sleep(10);
  assert.deepEqual([...engine.repository.all()], []);
  assert.deepEqual(world.actions(), ['create', 'start', 'die', 'destroy']);
});

test('a container whose snapshot and image are lost keeps nothing else from being swept', async () => {
  using world = new FakeWorld();
  world.snapshots.delete(await running(world));
  world.snapshots.add('stray');
  world.failing.set('prepareSnapshot', new FlotillaError('not_found', 'gone', { reason: 'IMAGE_NOT_FOUND' }));
  await restarted(world);
  assert.equal(world.snapshots.has('stray'), false);
});

test('what no record wants is swept; a service that is down is asked again', async () => {
  using world = new FakeWorld();
  await running(world);
  world.snapshots.add('stray');
  world.sandboxes.add('stray');
  world.tasks.set('stray', { run: 1, state: 'running', shimLives: true });
  world.failing.set('removeSnapshot', new FlotillaError('unavailable', 'down', { reason: 'SERVICE_UNAVAILABLE' }));
  await restarted(world);
  assert.ok(world.snapshots.has('stray'));
  assert.deepEqual([world.sandboxes.has('stray'), world.tasks.has('stray')], [false, false]);
  world.failing.clear();
  await sleep(400);
  assert.equal(world.snapshots.has('stray'), false);
  assert.equal(world.snapshots.size + world.sandboxes.size + world.tasks.size, 3);
});
