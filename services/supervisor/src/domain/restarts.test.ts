import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { aConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import type { ContainerRecord } from './container.ts';
import { createContainer } from './create-container.ts';
import type { Engine } from './engine.ts';
import { killContainer } from './kill-container.ts';
import { reconcile } from './reconcile.ts';
import { removeContainer } from './remove-container.ts';
import { restartContainer } from './restart-container.ts';
import { settleAfterBoot } from './settle-after-boot.ts';
import { startContainer } from './start-container.ts';
import { stopContainer } from './stop-container.ts';
import { waitContainer } from './wait-container.ts';

const never = new AbortController().signal;
const anyStop = { signal: '', timeoutSeconds: undefined };
const away = new FlotillaError('unavailable', 'no launcher', { reason: 'SERVICE_UNAVAILABLE' });

async function running(engine: Engine, policy: string, maximumRetries = 0): Promise<string> {
  const config = aConfig({ restartPolicy: { name: policy, maximumRetries } });
  const request = { config, name: 'one', idempotencyKey: '', bytes: Buffer.alloc(0) };
  const { containerId } = await createContainer(engine, request);
  await startContainer(engine, 'one');
  return containerId;
}

async function until(engine: Engine, holds: (record: ContainerRecord) => boolean): Promise<ContainerRecord> {
  for (const deadline = performance.now() + 30_000; performance.now() < deadline; await sleep(2)) {
    const record = engine.repository.find('one');
    if (holds(record) && engine.queue.size === 0) return record;
  }
  throw new Error(`still ${engine.repository.find('one').state}`);
}

const isRun = (run: number) => (record: ContainerRecord) => record.state === 'running' && record.run === run;
const waits = ({ state, restarts }: ContainerRecord) => state === 'exited' && restarts.pending !== undefined;

/** What was stored, as a supervisor that has just started finds it; the one before has been killed. */
function restarted(world: FakeWorld, killed: Engine): Engine {
  killed.due[Symbol.dispose]();
  const engine = world.engine();
  reconcile(engine, engine.monitor, never);
  return engine;
}

test('a container that fails is started again, as often as the policy says', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const containerId = await running(engine, 'on-failure', 2);
  for (const run of [2, 3]) {
    await world.end(containerId, 3, engine);
    assert.ok(waits(engine.repository.find('one')), 'between two runs it waits');
    assert.equal((await until(engine, isRun(run))).restarts.count, run - 1);
  }
  await world.end(containerId, 3, engine);
  const over = engine.repository.find('one');
  assert.deepEqual([over.state, over.exitCode, over.restarts.pending], ['exited', 3, undefined]);
  assert.deepEqual(world.actions(), ['create', 'start', 'die', 'start', 'die', 'start', 'die']);
});

test('what a user stops stays down; a user’s start begins anew', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const containerId = await running(engine, 'always');
  await world.end(containerId, 1, engine);
  assert.equal((await until(engine, isRun(2))).restarts.count, 1);
  await stopContainer(engine, 'one', anyStop);
  await sleep(150);
  assert.equal(engine.repository.find('one').state, 'exited');
  await startContainer(engine, 'one');
  assert.equal(engine.repository.find('one').restarts.count, 0);
  await killContainer(engine, 'one', 'KILL');
  await until(engine, ({ state }) => state === 'exited');
  await sleep(150);
  assert.deepEqual([engine.repository.find('one').state, engine.repository.find('one').run], ['exited', 3]);
});

test('while it waits: start starts it at once, stop and kill leave it down, rm wants force', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const containerId = await running(engine, 'always');
  await world.end(containerId, 1, engine);
  assert.deepEqual(await startContainer(engine, 'one'), { changed: true, run: 2 });
  await world.end(containerId, 1, engine);
  assert.equal(await stopContainer(engine, 'one', anyStop), true);
  assert.equal(await stopContainer(engine, 'one', anyStop), false);
  await startContainer(engine, 'one');
  await world.end(containerId, 1, engine);
  await killContainer(engine, 'one', 'TERM');
  await assert.rejects(killContainer(engine, 'one', 'TERM'), { reason: 'CONTAINER_NOT_RUNNING' });
  await sleep(150);
  assert.equal(engine.repository.find('one').run, 3);
  await startContainer(engine, 'one');
  await world.end(containerId, 1, engine);
  await assert.rejects(removeContainer(engine, 'one', { force: false, removeVolumes: false }), {
    reason: 'CONTAINER_RUNNING',
  });
  await removeContainer(engine, 'one', { force: true, removeVolumes: false });
  await sleep(150);
  const again = ['start', 'die'];
  assert.deepEqual(world.actions(), ['create', ...again, ...again, 'stop', ...again, ...again, 'destroy']);
  assert.equal(world.tasks.size + world.sandboxes.size, 0);
});

test('a supervisor that is killed while a container waits is followed by one that starts it', async () => {
  using world = new FakeWorld();
  const first = world.engine();
  const containerId = await running(first, 'unless-stopped');
  await world.end(containerId, 1, first);
  assert.ok(waits(first.repository.find('one')));
  const engine = restarted(world, first);
  assert.equal((await until(engine, isRun(2))).restarts.count, 1);
  assert.deepEqual(world.actions(), ['create', 'start', 'die', 'start']);
});

test('one that ended while the supervisor was away is started again by the next', async () => {
  using world = new FakeWorld();
  const first = world.engine();
  const containerId = await running(first, 'always');
  await world.end(containerId, 0);
  await until(restarted(world, first), isRun(2));
});

test('a user’s restart goes on after the exit, whoever is killed then', async () => {
  using world = new FakeWorld();
  const first = world.engine();
  await running(first, 'no');
  world.failing.set('delete', away); // It ends, and gets no further.
  await assert.rejects(restartContainer(first, 'one', anyStop));
  world.failing.clear();
  await until(restarted(world, first), isRun(2));
  assert.deepEqual(world.actions(), ['create', 'start', 'kill', 'stop', 'die', 'start', 'restart']);
});

test('a start by the policy that fails because a service is away is tried again; one that cannot work is not', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const containerId = await running(engine, 'always');
  world.failing.set('launch', away);
  await world.end(containerId, 1, engine);
  await until(engine, (record) => waits(record) && record.run === 2);
  world.failing.clear();
  await until(engine, isRun(3));
  world.failing.set('start', new FlotillaError('not_found', 'no such command', { reason: 'COMMAND_NOT_FOUND' }));
  await world.end(containerId, 1, engine);
  const failed = await until(engine, ({ run, state }) => run === 4 && state === 'exited');
  assert.deepEqual([failed.exitCode, failed.error, failed.restarts.pending], [127, 'no such command', undefined]);
});

test('what a run left is taken down before the next begins, however long that takes', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const containerId = await running(engine, 'always');
  world.failing.set('delete', new FlotillaError('aborted', 'not empty', { reason: 'TASK_NOT_ENDING' }));
  await world.end(containerId, 1, engine);
  await sleep(250);
  assert.ok(waits(engine.repository.find('one')));
  world.failing.clear();
  await until(engine, isRun(2));
});

test('a wait for it not to run ends with the run, not with the policy; one that begins between runs waits for the next', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const containerId = await running(engine, 'always');
  const wait = (afterRun?: number) => waitContainer(engine, 'one', { condition: 'not running', afterRun }, never);
  const first = wait();
  await world.end(containerId, 4, engine);
  assert.deepEqual(await first, { exitCode: 4, error: '', run: 1 });
  const second = wait();
  await until(engine, isRun(2));
  assert.equal((await wait(0)).run, 1, 'asked again after the answer was lost');
  await world.end(containerId, 5, engine);
  assert.equal((await second).exitCode, 5);
  await stopContainer(engine, 'one', anyStop);
  assert.equal((await wait()).run, 2);
});

for (const [policy, stopped, state] of [
  ['no', false, 'exited'],
  ['always', false, 'running'],
  ['always', true, 'running'],
  ['unless-stopped', false, 'running'],
  ['unless-stopped', true, 'exited'],
  ['on-failure', false, 'running'],
] as const) {
  test(`after a boot of the host, ${policy}${stopped ? ' and stopped by a user' : ''}: ${state}`, async () => {
    using world = new FakeWorld();
    const first = world.engine();
    await running(first, policy);
    if (stopped) await stopContainer(first, 'one', anyStop);
    const { exitCode } = first.repository.find('one');
    first.due[Symbol.dispose]();
    world.tasks.clear();
    world.sandboxes.clear();
    const engine = world.engine();
    settleAfterBoot(engine);
    const settled = engine.repository.find('one');
    assert.deepEqual([settled.state, settled.exitCode], ['exited', stopped ? exitCode : 255]);
    reconcile(engine, engine.monitor, never);
    const record = await until(engine, (now) => now.state === state);
    await sleep(150);
    assert.equal(engine.repository.find('one').state, state);
    assert.equal(record.restarts.count, 0);
  });
}

for (const [policy, state] of [
  ['no', 'exited'],
  ['on-failure', 'running'],
] as const) {
  test(`a start that power loss cut off counts as done: with ${policy}, ${state}`, async () => {
    using world = new FakeWorld();
    const first = world.engine();
    await running(first, policy);
    // What was flushed last is the intent: the answer to the call may have been given all the same.
    const { endpoints, ports, task, startedAtUnixNano, ...record } = first.repository.find('one');
    const none = { endpoints: [], ports: [], task: undefined, startedAtUnixNano: 0n };
    first.repository.save({ container: { ...record, ...none, state: 'starting' } });
    world.tasks.clear();
    world.sandboxes.clear();
    world.snapshots.clear();
    const engine = world.engine();
    settleAfterBoot(engine);
    assert.deepEqual(world.actions(), ['create', 'start', 'start', 'die']); // of the first start, the record was lost
    assert.equal(engine.repository.find('one').exitCode, 255);
    reconcile(engine, engine.monitor, never);
    await until(engine, (now) => now.state === state && world.snapshots.size === 1);
  });
}
