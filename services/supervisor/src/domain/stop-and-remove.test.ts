import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { aConfig, anExecConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { anyStop, create, nothingIsLeft, settle } from '../testing/lifecycle.ts';
import { createExec } from './execs.ts';
import { killContainer } from './kill-container.ts';
import { pauseContainer, unpauseContainer } from './pause-container.ts';
import { removeContainer } from './remove-container.ts';
import { renameContainer } from './rename-container.ts';
import { restartContainer } from './restart-container.ts';
import { startContainer } from './start-container.ts';
import { stopContainer } from './stop-container.ts';

test('stop: kill, stop, die; one that does not run is left alone', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  assert.equal(await stopContainer(engine, 'one', anyStop), false);
  await startContainer(engine, 'one');
  assert.equal(await stopContainer(engine, 'one', anyStop), true);
  assert.deepEqual(world.actions(), ['create', 'start', 'kill', 'stop', 'die']);
  assert.equal(world.events[2]?.attributes.signal, '15');
  assert.equal(engine.repository.get(containerId)?.exitCode, 143);
});

test('stop of one that does not mind: kill, kill 9, stop, die', async () => {
  using world = new FakeWorld();
  world.deadly = [9];
  const engine = world.engine();
  await create(engine, 'one');
  await startContainer(engine, 'one');
  await stopContainer(engine, 'one', { signal: 'INT', timeoutSeconds: 0 });
  assert.deepEqual(world.actions(), ['create', 'start', 'kill', 'kill', 'stop', 'die']);
  assert.deepEqual(
    world.events.slice(2, 4).map(({ attributes }) => attributes.signal),
    ['2', '9'],
  );
});

test('restart: kill, stop, die, start, restart; one that is removed when it exits is not', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one', aConfig({ autoRemove: true }));
  await startContainer(engine, 'one');
  assert.equal(await restartContainer(engine, 'one', anyStop), 2);
  assert.deepEqual(world.actions(), ['create', 'start', 'kill', 'stop', 'die', 'start', 'restart']);
  assert.equal(engine.repository.get(containerId)?.state, 'running');
  await world.end(containerId, 0, engine);
  await settle(engine);
  assert.deepEqual(world.actions().slice(7), ['die', 'destroy']);
  nothingIsLeft(world);
});

test('removal by force: kill, die, destroy; without force a running one is refused', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await create(engine, 'one');
  await startContainer(engine, 'one');
  await assert.rejects(removeContainer(engine, 'one', { force: false, removeVolumes: false }), {
    reason: 'CONTAINER_RUNNING',
  });
  await removeContainer(engine, 'one', { force: true, removeVolumes: false });
  assert.deepEqual(world.actions(), ['create', 'start', 'kill', 'die', 'destroy']);
  nothingIsLeft(world);
});

test('a removal that fails makes it dead, and can be tried again', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  world.failing.set('removeSnapshot', new FlotillaError('internal', 'busy', { reason: 'BUSY' }));
  await assert.rejects(removeContainer(engine, 'one', { force: false, removeVolumes: false }), { reason: 'BUSY' });
  assert.deepEqual(
    [engine.repository.get(containerId)?.state, engine.repository.get(containerId)?.error],
    ['dead', 'busy'],
  );
  await assert.rejects(startContainer(engine, 'one'), { reason: 'ILLEGAL_TRANSITION' });
  world.failing.clear();
  await removeContainer(engine, 'one', { force: false, removeVolumes: false });
  assert.deepEqual(world.actions(), ['create', 'destroy']);
});

test('a frozen container cannot be started or exec’d in, is thawed, is stopped', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await create(engine, 'one');
  await assert.rejects(pauseContainer(engine, 'one'), { reason: 'CONTAINER_NOT_RUNNING' });
  await startContainer(engine, 'one');
  await pauseContainer(engine, 'one');
  await assert.rejects(startContainer(engine, 'one'), { reason: 'ILLEGAL_TRANSITION' });
  const exec = anExecConfig({ command: ['id'] });
  await assert.rejects(createExec(engine, 'one', exec), { reason: 'CONTAINER_PAUSED' });
  await assert.rejects(pauseContainer(engine, 'one'), {
    reason: 'ILLEGAL_TRANSITION',
    message: 'container one is already paused',
  });
  await unpauseContainer(engine, 'one');
  await assert.rejects(unpauseContainer(engine, 'one'), {
    reason: 'ILLEGAL_TRANSITION',
    message: 'container one is not paused',
  });
  await pauseContainer(engine, 'one');
  await stopContainer(engine, 'one', anyStop);
  assert.deepEqual(world.actions(), ['create', 'start', 'pause', 'unpause', 'pause', 'kill', 'stop', 'die']);
});

test('a freeze that fails leaves it running', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  await startContainer(engine, 'one');
  world.failing.set('pause', new FlotillaError('internal', 'no', { reason: 'NO' }));
  await assert.rejects(pauseContainer(engine, 'one'), { reason: 'NO' });
  assert.equal(engine.repository.get(containerId)?.state, 'running');
});

test('kill sends a signal to what runs', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  await assert.rejects(killContainer(engine, 'one', ''), { reason: 'CONTAINER_NOT_RUNNING' });
  await startContainer(engine, 'one');
  await killContainer(engine, 'one', 'USR1');
  assert.deepEqual(world.signals, [`${containerId} 10`]);
  assert.deepEqual(world.actions(), ['create', 'start', 'kill']);
});

test('rename frees the old name', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await create(engine, 'one');
  await create(engine, 'two');
  await assert.rejects(renameContainer(engine, 'one', 'two'), { reason: 'CONTAINER_NAME_TAKEN' });
  await assert.rejects(renameContainer(engine, 'one', '-x'), { reason: 'INVALID_FIELD' });
  await renameContainer(engine, 'one', 'three');
  await create(engine, 'one');
  assert.equal(world.events[2]?.attributes.oldName, '/one');
});

test('a signal that is meant to end a frozen container thaws it, as with Docker; another one waits', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one', aConfig({ stopSignal: 'INT' }));
  await startContainer(engine, 'one');
  await pauseContainer(engine, 'one');
  await killContainer(engine, 'one', 'USR1');
  assert.equal(engine.repository.get(containerId)?.state, 'paused');
  world.deadly = [9];
  await killContainer(engine, 'one', 'INT');
  assert.equal(engine.repository.get(containerId)?.state, 'running');
  assert.deepEqual(world.actions(), ['create', 'start', 'pause', 'kill', 'kill', 'unpause']);
});
