import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { anExecConfig } from '../testing/builders.ts';
import { FakeWorld } from '../testing/fake-world.ts';
import { create } from '../testing/lifecycle.ts';
import { createExec, reportExecExit, startExec } from './execs.ts';
import { startContainer } from './start-container.ts';

const execConfig = anExecConfig({ command: ['sh', '-c', 'true'] });

test('an exec: recorded, started once, ended once', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  const { containerId } = await create(engine, 'one');
  await startContainer(engine, 'one');
  const { execId } = await createExec(engine, 'one', execConfig);
  const running = await startExec(engine, execId, false);
  assert.deepEqual([running.state, running.pid], ['running', 300]);
  await assert.rejects(startExec(engine, execId, false), { reason: 'EXEC_ALREADY_STARTED' });
  reportExecExit(engine, execId, 4);
  reportExecExit(engine, execId, 5);
  assert.equal(engine.repository.getExec(execId)?.exitCode, 4);
  const cut = await createExec(engine, 'one', execConfig);
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
  const { execId } = await createExec(engine, 'one', anExecConfig({ command: ['nope'] }));
  world.failing.set('startExec', new FlotillaError('not_found', 'no such command', { reason: 'COMMAND_NOT_FOUND' }));
  await assert.rejects(startExec(engine, execId, false), { reason: 'COMMAND_NOT_FOUND' });
  assert.deepEqual(
    [engine.repository.getExec(execId)?.state, engine.repository.getExec(execId)?.exitCode],
    ['exited', 127],
  );
});

test('an exec whose shim leaves before it has answered is asked for again, of the next one', async () => {
  using world = new FakeWorld();
  const engine = world.engine();
  await create(engine, 'one');
  await startContainer(engine, 'one');
  const failures = [
    new FlotillaError('unavailable', 'another takes over', { reason: 'SHIM_REPLACED' }),
    new FlotillaError('unavailable', 'connection dropped', { reason: 'SERVICE_UNAVAILABLE' }),
  ];
  const { startExec: toShim } = engine.shims;
  let answered = 0;
  engine.shims.startExec = async (...args) => {
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    answered += 1;
    return toShim(...args);
  };
  const { execId } = await createExec(engine, 'one', execConfig);
  assert.equal((await startExec(engine, execId, false)).pid, 300);
  assert.equal(answered, 1);
  // It was started, ended and reported before the answer was lost: asked again it would run twice.
  const second = await createExec(engine, 'one', execConfig);
  engine.shims.startExec = async () => {
    reportExecExit(engine, second.execId, 7);
    throw new FlotillaError('unavailable', 'connection dropped', { reason: 'SERVICE_UNAVAILABLE' });
  };
  const ended = await startExec(engine, second.execId, false);
  assert.deepEqual([ended.state, ended.exitCode], ['exited', 7]);
  const third = await createExec(engine, 'one', execConfig);
  const metadata = { exitCode: '9' };
  world.failing.set(
    'startExec',
    new FlotillaError('aborted', 'ended with its shim', { reason: 'EXEC_LOST', metadata }),
  );
  engine.shims.startExec = toShim;
  await assert.rejects(startExec(engine, third.execId, false), { reason: 'EXEC_LOST' });
  assert.equal(engine.repository.getExec(third.execId)?.exitCode, 9);
});
