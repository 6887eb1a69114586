import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { actionsOf } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const restarts = async (id: string) => (await engine.status(id)).restartCount;

test('on-failure:2 starts twice more, each with its events, and not again', async () => {
  const id = await engine.ok('run', '--detach', '--restart', 'on-failure:2', demoImage, 'sh', '-c', 'exit 3');
  await waitFor('it has been started three times', async () => {
    const { state, exitCode } = await engine.status(id);
    return (await restarts(id)) === 2 && state === 'exited' && exitCode === 3;
  });
  const expected = ['create', 'start', 'die', 'start', 'die', 'start', 'die'].join();
  await waitFor('its events', async () => (await actionsOf(engine, id, 'die')).join() === expected);
  await engine.ok('rm', id);
});

test('always: goes on while the supervisor is killed between two runs, until it is stopped', async () => {
  const id = await engine.ok('run', '--detach', '--restart', 'always', demoImage, 'sh', '-c', 'sleep 0.2; exit 1');
  await waitFor('a second run', async () => (await restarts(id)) >= 1);
  await engine.killAndAwait('supervisor');
  const before = await restarts(id);
  await waitFor('another run', async () => (await restarts(id)) > before);
  await engine.ok('stop', id);
  const stopped = await restarts(id);
  await engine.ok('update', '--restart', 'no', id);
  assert.equal((await engine.status(id)).state, 'exited');
  assert.equal(await restarts(id), stopped);
  await engine.ok('rm', id);
});

test('while it waits: listed as restarting, not removed without force, and a wait is for its next end', async () => {
  const id = await engine.ok('run', '--detach', '--restart', 'always', demoImage, 'sh', '-c', 'sleep 0.1; exit 4');
  assert.equal(await engine.ok('wait', id), '4');
  const listed = () => engine.ok('ps', '--filter', 'status=restarting', '--format', '{{.Status}}');
  await waitFor('it waits', async () => /^Restarting \(4\) .* ago$/m.test(await listed()), 40_000);
  const refused = await waitFor('removal while it waits', async () => {
    const { code, stderr } = await engine.flotilla(['rm', id]);
    return code === 1 && /restarting/.test(stderr) ? stderr : undefined;
  });
  assert.match(refused, /force/);
  assert.equal(await engine.ok('wait', id), '4');
  await engine.ok('rm', '--force', id);
});

test('after a boot of the host containers run again as their policies say', async () => {
  const make = async (...policy: string[]) =>
    engine.ok('run', '--detach', ...policy, demoImage, 'sh', '-c', 'trap "exit 0" TERM; while :; do sleep 0.1; done');
  const [none, always, alwaysStopped, stopped] = [
    await make(),
    await make('--restart', 'always'),
    await make('--restart', 'always'),
    await make('--restart', 'unless-stopped'),
  ];
  await engine.ok('stop', '--timeout', '1', alwaysStopped, stopped);
  const lost = [await engine.status(none), await engine.status(always)];
  await engine.down();
  // What a boot leaves: no process, nothing in /run, another boot id than the one that is remembered.
  for (const { shimPid, initPid } of lost) for (const pid of [shimPid, initPid]) process.kill(pid, 'SIGKILL');
  rmSync(join(engine.folders.run, 'shims'), { recursive: true });
  rmSync(join(engine.folders.root, 'containers', none, 'exit.json'), { force: true });
  writeFileSync(join(engine.folders.root, 'supervisor', 'boot-id'), 'the boot before\n');
  await engine.up();
  for (const id of [always, alwaysStopped]) {
    await waitFor('it runs again', async () => (await engine.status(id)).state === 'running');
  }
  const { state, exitCode } = await engine.status(none);
  assert.deepEqual([state, exitCode], ['exited', 255]);
  assert.equal((await engine.status(stopped)).state, 'exited');
  assert.equal(await restarts(always), 0);
  await engine.killAndAwait('supervisor');
  await engine.ok('stop', '--timeout', '1', always);
  await engine.killAndAwait('supervisor');
  assert.equal((await engine.status(always)).state, 'exited', 'another supervisor is not another boot');
  await engine.ok('rm', '--force', none, always, alwaysStopped, stopped);
});
