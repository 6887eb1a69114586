import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { aConfig, anImage } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { createContainer } from './create-container.ts';
import type { Engine } from './engine.ts';
import { createExec, reportExecExit, startExec } from './execs.ts';
import { killContainer } from './kill-container.ts';
import { nextTask } from './next-task.ts';
import { pauseContainer, unpauseContainer } from './pause-container.ts';
import { removeContainer } from './remove-container.ts';
import { renameContainer } from './rename-container.ts';
import { restartContainer } from './restart-container.ts';
import { startContainer } from './start-container.ts';
import { stopContainer } from './stop-container.ts';
import { reportExit } from './task-exit.ts';
import { waitContainer } from './wait-container.ts';

const never = new AbortController().signal;
const anyStop = { signal: '', timeoutSeconds: undefined };

function create(engine: Engine, name: string, config = aConfig(), idempotencyKey = '') {
  return createContainer(engine, {
    config,
    name,
    idempotencyKey,
    bytes: Buffer.from(JSON.stringify([name, config.command])),
  });
}

async function settle(engine: Engine): Promise<void> {
  do await sleep(2);
  while (engine.queue.size > 0);
}

function nothingIsLeft(world: FakeWorld): void {
  assert.deepEqual([...world.snapshots, ...world.sandboxes, ...world.tasks.keys(), ...world.volumes.keys()], []);
}

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
  const exec = {
    command: ['id'],
    env: [],
    user: '',
    workingDir: '',
    tty: false,
    stdin: false,
    privileged: false,
    size: undefined,
    detachKeys: '',
  };
  await assert.rejects(createExec(engine, 'one', exec), { reason: 'CONTAINER_PAUSED' });
  await assert.rejects(pauseContainer(engine, 'one'), { reason: 'ILLEGAL_TRANSITION' });
  await unpauseContainer(engine, 'one');
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

test('an exec: recorded, started once, ended once', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  await startContainer(engine, 'one');
  const config = {
    command: ['sh', '-c', 'true'],
    env: [],
    user: '',
    workingDir: '',
    tty: false,
    stdin: false,
    privileged: false,
    size: undefined,
    detachKeys: '',
  };
  const { execId } = await createExec(engine, 'one', config);
  const running = await startExec(engine, execId, false);
  assert.deepEqual([running.state, running.pid], ['running', 300]);
  await assert.rejects(startExec(engine, execId, false), { reason: 'EXEC_ALREADY_STARTED' });
  reportExecExit(engine, execId, 4);
  reportExecExit(engine, execId, 5);
  assert.equal(engine.repository.getExec(execId)?.exitCode, 4);
  const cut = await createExec(engine, 'one', config);
  await startExec(engine, cut.execId, true);
  await world.end(containerId, 0, engine);
  assert.deepEqual(world.actions().slice(2), [
    'exec_create: sh -c true',
    'exec_start: sh -c true',
    'exec_die',
    'exec_create: sh -c true',
    'exec_start: sh -c true',
    'exec_die',
    'die',
  ]);
  await startContainer(engine, 'one');
  assert.equal(engine.repository.getExec(execId), undefined);
});

test('an exec that cannot be started has ended', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await create(engine, 'one');
  await startContainer(engine, 'one');
  const config = {
    command: ['nope'],
    env: [],
    user: '',
    workingDir: '',
    tty: false,
    stdin: false,
    privileged: false,
    size: undefined,
    detachKeys: '',
  };
  const { execId } = await createExec(engine, 'one', config);
  world.failing.set('startExec', new FlotillaError('not_found', 'no such command', { reason: 'COMMAND_NOT_FOUND' }));
  await assert.rejects(startExec(engine, execId, false), { reason: 'COMMAND_NOT_FOUND' });
  assert.deepEqual(
    [engine.repository.getExec(execId)?.state, engine.repository.getExec(execId)?.exitCode],
    ['exited', 127],
  );
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
