import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { demoImage, Engine } from '../harness/engine.ts';
import { actionsOf } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const kill = (pid: number | undefined) => {
  assert.ok(pid !== undefined);
  process.kill(pid, 'SIGKILL');
};

/** Kills the keeper, so that nothing is started again, and these services; `up` brings them back. */
async function withoutServices(services: readonly ('supervisor' | 'launcher' | 'nats')[], work: () => Promise<void>) {
  kill(engine.pid('keeper'));
  for (const service of services) kill(engine.pid(service));
  await work();
  await engine.up();
}

for (const away of [['supervisor'], ['supervisor', 'nats'], ['supervisor', 'launcher', 'nats']] as const) {
  test(`a container that ends while ${away.join(', ')} are dead: exit code and one event of each kind`, async () => {
    const script = 'trap "exit 7" TERM; echo begun; while :; do usleep 10000; done';
    const id = await engine.ok('run', '--detach', demoImage, 'sh', '-c', script);
    const status = await engine.status(id);
    await waitFor('it has set its trap', async () => (await engine.ok('logs', id)) === 'begun');
    await withoutServices(away, async () => {
      process.kill(status.initPid, 'SIGTERM');
      await waitFor('it ends', () => !existsSync(`/proc/${status.initPid}/cmdline`));
    });
    assert.equal(await engine.ok('wait', id), '7');
    assert.deepEqual(await actionsOf(engine, id, 'die'), ['create', 'start', 'die']);
    await engine.ok('rm', id);
    assert.deepEqual(await actionsOf(engine, id, 'destroy'), ['create', 'start', 'die', 'destroy']);
  });
}

test('a container whose shim is killed goes on, and its exit code is kept', async () => {
  const id = await engine.ok(
    'run',
    '--detach',
    demoImage,
    'sh',
    '-c',
    'trap "exit 9" TERM; while :; do usleep 10000; done',
  );
  const status = await engine.status(id);
  process.kill(status.shimPid, 'SIGKILL');
  await sleep(1_000);
  assert.ok(existsSync(`/proc/${status.initPid}/cmdline`), 'it goes on');
  process.kill(status.initPid, 'SIGTERM');
  assert.equal(await engine.ok('wait', id), '9');
  await engine.ok('rm', '--force', id);
});
