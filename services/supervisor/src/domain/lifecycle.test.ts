import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { aConfig, anImage } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { create, never, nothingIsLeft, settle } from '../testing/lifecycle.ts';
import { announceAttach } from './attachments.ts';
import { removeContainer } from './remove-container.ts';
import { startContainer } from './start-container.ts';
import { reportExit } from './task-exit.ts';
import { waitContainer } from './wait-container.ts';

test('a life: created, started, exited, removed, each announced once, and nothing is left', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId, name } = await create(engine, 'one');
  assert.equal(name, 'one');
  const waiting = waitContainer(engine, 'one', { condition: 'next exit', afterRun: undefined }, never);
  assert.deepEqual(await startContainer(engine, containerId.slice(0, 12)), { changed: true, run: 1 });
  assert.deepEqual(await startContainer(engine, 'one'), { changed: false, run: 1 });
  await world.end(containerId, 3, engine);
  assert.deepEqual(await waiting, { exitCode: 3, error: '', run: 1 });
  await removeContainer(engine, 'one', { force: false, removeVolumes: true });
  assert.deepEqual(world.actions(), ['create', 'start', 'die', 'destroy']);
  assert.equal(world.events[2]?.attributes.exitCode, '3');
  assert.throws(() => engine.repository.find('one'), { reason: 'CONTAINER_NOT_FOUND' });
  nothingIsLeft(world);
});

test('a name is taken once, also while the first create is under way; and is free after a failed one', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const first = create(engine, 'one');
  await assert.rejects(create(engine, 'one'), { reason: 'CONTAINER_NAME_TAKEN', code: 'already_exists' });
  await first;
  await assert.rejects(create(engine, 'two', aConfig({ image: 'nope' })), { reason: 'IMAGE_NOT_FOUND' });
  await create(engine, 'two');
  assert.match((await create(engine, '')).name, /^[a-z]+_[a-z]+/);
});

for (const step of ['resolve', 'check', 'prepareSnapshot', 'prepareVolumes']) {
  test(`a create that fails in ${step} leaves nothing`, async () => {
    using world = new FakeWorld();
    world.image = anImage({ cmd: ['sh'], volumes: ['/v'] });
    world.failing.set(step, new FlotillaError('unavailable', 'down', { reason: 'SERVICE_UNAVAILABLE' }));
    const engine = world.engine();
    await assert.rejects(create(engine, 'one'), { reason: 'SERVICE_UNAVAILABLE' });
    assert.deepEqual([...engine.repository.all()], []);
    assert.deepEqual(world.actions(), []);
    await settle(engine);
    nothingIsLeft(world);
  });
}

test('an idempotency key gives the same container, at once and later, and refuses another request', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const [first, second] = await Promise.all([
    create(engine, '', aConfig(), 'key'),
    create(engine, '', aConfig(), 'key'),
  ]);
  assert.equal(first?.containerId, second?.containerId);
  assert.equal((await create(world.engine(), '', aConfig(), 'key')).containerId, first?.containerId);
  await assert.rejects(create(engine, '', aConfig({ command: ['other'] }), 'key'), {
    reason: 'IDEMPOTENCY_KEY_REUSED',
  });
  assert.deepEqual(world.actions(), ['create']);
});

test('an unknown user is refused when the container is made', async () => {
  using world = new FakeWorld();
  await assert.rejects(create(world.engine(), 'one', aConfig({ user: 'nobody' })), { reason: 'USER_NOT_FOUND' });
  nothingIsLeft(world);
});

for (const [step, exitCode, error] of [
  ['attach', 128, new FlotillaError('already_exists', 'port 80 is in use', { reason: 'PORT_IN_USE' })],
  ['launch', 128, new FlotillaError('unavailable', 'no launcher', { reason: 'SERVICE_UNAVAILABLE' })],
  ['log daemon', 128, new FlotillaError('failed_precondition', 'no daemon', { reason: 'LOG_DAEMON_NOT_RUNNING' })],
  ['start', 127, new FlotillaError('not_found', 'no such command', { reason: 'COMMAND_NOT_FOUND' })],
  ['start', 126, new FlotillaError('permission_denied', 'not executable', { reason: 'COMMAND_NOT_EXECUTABLE' })],
] as const) {
  test(`a start that fails in ${step} with ${error.reason} goes back to created with exit code ${exitCode}`, async () => {
    using world = new FakeWorld();
    const engine = world.engine();
    const { containerId } = await create(engine, 'one');
    const waiting = waitContainer(engine, 'one', { condition: 'next exit', afterRun: 0 }, never);
    world.failing.set(step, error);
    await assert.rejects(startContainer(engine, 'one'), { reason: error.reason });
    const record = engine.repository.get(containerId);
    assert.deepEqual([record?.state, record?.exitCode, record?.error], ['created', exitCode, error.message]);
    assert.equal((await waiting).error, error.message);
    assert.deepEqual([...world.sandboxes, ...world.tasks.keys()], []);
    world.failing.clear();
    assert.deepEqual(await startContainer(engine, 'one'), { changed: true, run: 2 });
    assert.deepEqual(world.actions(), ['create', 'start']);
  });
}

test('one that is removed when it exits is removed also when it does not start', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await create(engine, 'one', aConfig({ autoRemove: true }));
  world.failing.set('start', new FlotillaError('not_found', 'no such command', { reason: 'COMMAND_NOT_FOUND' }));
  await assert.rejects(startContainer(engine, 'one'), { reason: 'COMMAND_NOT_FOUND' });
  assert.deepEqual(world.actions(), ['create', 'destroy']);
  nothingIsLeft(world);
});

test('one that is removed when it exits stays until its clients have had all, or for ten seconds', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  using world = new FakeWorld();
  const engine = world.engine();
  const attach = (containerId: string) => {
    const attachmentId = randomUUID();
    announceAttach(engine, containerId, { attachmentId, reportsEnd: true, resumes: false });
    return () => engine.attachments.end(containerId, attachmentId);
  };
  const isThere = async (containerId: string) => {
    do await new Promise(setImmediate);
    while (engine.queue.size > 0);
    return engine.repository.get(containerId) !== undefined;
  };
  const one = (await create(engine, 'one', aConfig({ autoRemove: true }))).containerId;
  const ends = [attach(one), attach(one)];
  await startContainer(engine, 'one');
  await world.end(one, 0, engine);
  assert.equal(await isThere(one), true);
  ends[0]?.();
  t.mock.timers.tick(9_000);
  assert.equal(await isThere(one), true);
  ends[1]?.();
  assert.equal(await isThere(one), false);
  const two = (await create(engine, 'two', aConfig({ autoRemove: true }))).containerId;
  attach(two);
  await startContainer(engine, 'two');
  await world.end(two, 0, engine);
  assert.equal(await isThere(two), true);
  t.mock.timers.tick(10_000);
  assert.equal(await isThere(two), false);
  nothingIsLeft(world);
});

test('a start that fails because the network service is away does not wait for it again, and is undone later', async (t) => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one', aConfig({ autoRemove: true }));
  const away = { reason: 'SERVICE_UNAVAILABLE', metadata: { service: 'network' } };
  world.failing.set('attach', new FlotillaError('unavailable', 'network is away', away));
  await assert.rejects(startContainer(engine, 'one'), { reason: 'SERVICE_UNAVAILABLE' });
  assert.deepEqual([engine.repository.get(containerId)?.state, world.sandboxes.size], ['created', 1]);
  const later = performance.now() + 60_000;
  t.mock.method(performance, 'now', () => later);
  engine.monitor.look();
  await settle(engine);
  assert.deepEqual(world.actions(), ['create', 'destroy']);
  nothingIsLeft(world);
});

test('an exit that is told twice, or of another run, counts once', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  await startContainer(engine, 'one');
  const exit = { run: 1, exitCode: 137, oomKilled: true, exitedAtUnixNano: 5n };
  await Promise.all([reportExit(engine, containerId, exit), reportExit(engine, containerId, exit)]);
  await reportExit(engine, containerId, { ...exit, run: 2 });
  assert.deepEqual(world.actions(), ['create', 'start', 'oom', 'die']);
  assert.equal(engine.repository.get(containerId)?.oomKilled, true);
});

test('the network of another container is joined while that runs, and its id is the sandbox', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const first = await create(engine, 'one');
  const second = await create(engine, 'two', aConfig({ networkMode: 'container:one', pidMode: 'container:one' }));
  assert.equal(second.sandboxId, first.containerId);
  await assert.rejects(startContainer(engine, 'two'), { reason: 'CONTAINER_NOT_RUNNING' });
  await startContainer(engine, 'one');
  await startContainer(engine, 'two');
  const namespaces = world.bundles.get(second.containerId)?.spec.linux?.namespaces;
  assert.deepEqual(
    namespaces?.filter(({ path }) => path !== undefined),
    [
      { type: 'network', path: `/run/netns/${first.containerId}` },
      { type: 'pid', path: '/proc/200/ns/pid' },
    ],
  );
  await assert.rejects(create(engine, 'three', aConfig({ networkMode: 'container:none' })), {
    reason: 'CONTAINER_NOT_FOUND',
  });
});
