import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { actionsOf } from '../harness/events.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const restarts = async (id: string) =>
  (JSON.parse(await engine.ok('inspect', id)) as [{ status: { restartCount?: number } }])[0].status.restartCount ?? 0;

/** A container's memory limit, in bytes, as the kernel has it. */
function memoryLimit(id: string): number {
  const group = `${engine.folders.instance}/${id}`;
  for (const path of [`/sys/fs/cgroup/memory/${group}/memory.limit_in_bytes`, `/sys/fs/cgroup/${group}/memory.max`]) {
    try {
      return Number(readFileSync(path, 'utf8'));
    } catch {
      // the other version
    }
  }
  return Number.NaN;
}

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

test('limits are changed while it runs, in the kernel and in the record; a refused change changes nothing', async () => {
  const id = await engine.ok('run', '--detach', '--memory', '64m', demoImage, 'sleep', '600');
  assert.equal(memoryLimit(id), 64 << 20);
  await engine.ok('update', '--memory', '96m', '--memory-swap', '200m', '--pids-limit', '50', id);
  assert.equal(memoryLimit(id), 96 << 20);
  assert.equal((await engine.flotilla(['update', '--memory', '1m', id])).code, 1);
  assert.equal((await engine.flotilla(['update', id])).code, 1);
  assert.equal(memoryLimit(id), 96 << 20);
  await engine.ok('restart', '--timeout', '0', id);
  assert.equal(memoryLimit(id), 96 << 20);
  await engine.ok('rm', '--force', id);
});
