import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { create, never } from '../testing/lifecycle.ts';
import { nextTask } from './next-task.ts';
import { removeContainer } from './remove-container.ts';
import { startContainer } from './start-container.ts';
import { waitContainer } from './wait-container.ts';

test('a wait for removal answers with the exit code; a wait that is given up rejects', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one', aConfig({ autoRemove: true }));
  const removed = waitContainer(engine, 'one', { condition: 'removed' }, never);
  const controller = new AbortController();
  const givenUp = waitContainer(engine, 'one', { condition: 'removed' }, controller.signal);
  controller.abort(new Error('gone'));
  await assert.rejects(givenUp, /gone/);
  assert.deepEqual(await waitContainer(engine, 'one', { condition: 'not running' }, never), {
    exitCode: 0,
    error: '',
    run: 0,
  });
  await startContainer(engine, 'one');
  await world.end(containerId, 9, engine);
  assert.equal((await removed).exitCode, 9);
});

test('whoever waits for the task is told before the release', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  const place = nextTask(engine, containerId, never);
  await startContainer(engine, 'one');
  assert.deepEqual(await place, { run: 1, expected: true });
});

test('whoever comes between the release and its record is told once it runs, and is not waited for', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  const step = world.step.bind(world);
  const late: Promise<unknown>[] = [];
  world.step = async (name) => {
    if (name === 'started') late.push(nextTask(engine, containerId, never));
    await step(name);
  };
  await startContainer(engine, 'one');
  assert.deepEqual(await Promise.all(late), [{ run: 1, expected: false }]);
});

test('a wait for the task ends when the container goes, or the caller', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  const controller = new AbortController();
  const givenUp = nextTask(engine, containerId, controller.signal);
  const gone = nextTask(engine, containerId, never);
  controller.abort(new Error('gone away'));
  await assert.rejects(givenUp, /gone away/);
  const rejected = assert.rejects(gone, { reason: 'CONTAINER_NOT_FOUND' });
  await removeContainer(engine, 'one', { force: false, removeVolumes: false });
  await rejected;
});
