import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuLimit, cpuUsedMs, limitPaths } from '../harness/cgroups.ts';
import { demoImage, Engine } from '../harness/engine.ts';
import { waitFor } from '../harness/wait.ts';

// Runs on the host as it is, and in a machine with cgroup v2 alone (`npm run test:vm`).
let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const read = (path: string) => readFileSync(path, 'utf8').trim();

test('limits stand in the cgroup, and the container sees them', async () => {
  const flags = ['--memory', '64m', '--pids-limit', '20', '--cpus', '0.5'];
  const id = await engine.ok('run', '--detach', ...flags, demoImage, 'sleep', '600');
  const inside = (path: string) => engine.ok('exec', id, 'cat', path);

  const memory = limitPaths(engine, id, 'memoryLimit');
  assert.equal(read(memory.host), String(64 << 20));
  assert.equal(await inside(memory.inside), String(64 << 20));

  const pids = limitPaths(engine, id, 'pidsLimit');
  assert.equal(read(pids.host), '20');
  assert.equal(await inside(pids.inside), '20');

  assert.equal(cpuLimit(read, `${engine.folders.instance}/${id}`), 0.5);
  await engine.ok('rm', '--force', id);
});

test('a memory hog is killed, and the engine says for want of memory', async () => {
  const hog = await engine.flotilla(['run', '--name', 'hog', '--memory', '32m', demoImage, 'tail', '/dev/zero']);
  assert.equal(hog.code, 137, hog.stderr);
  const status = await engine.status('hog');
  assert.equal(status.oomKilled, true);
  assert.equal(status.exitCode, 137);
  await engine.ok('rm', 'hog');
});

test('that a process was killed for want of memory is known while the container goes on', async () => {
  const id = await engine.ok('run', '--detach', '--memory', '32m', demoImage, 'sh', '-c', 'tail /dev/zero; sleep 600');
  await waitFor('the kill is known', async () => (await engine.status(id)).oomKilled);
  assert.equal((await engine.status(id)).state, 'running');
  await engine.ok('rm', '--force', id);
});

test('a container that keeps within its memory is not said to have run out of it', async () => {
  await engine.ok('run', '--name', 'modest', '--memory', '32m', demoImage, 'true');
  assert.equal((await engine.status('modest')).oomKilled, false);
  await engine.ok('rm', 'modest');
});

test('no more processes than allowed', async () => {
  const script = 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; wait; echo all';
  const refused = await engine.flotilla(['run', '--rm', '--pids-limit', '8', demoImage, 'sh', '-c', script]);
  assert.match(refused.stderr, /can't fork: Resource temporarily unavailable/);
  assert.notEqual(refused.code, 0);
  const allowed = await engine.flotilla(['run', '--rm', '--pids-limit', '40', demoImage, 'sh', '-c', script]);
  assert.equal(allowed.stdout, 'all\n');
});

test('half a processor is half a processor', async () => {
  const id = await engine.ok('run', '--detach', '--cpus', '0.5', demoImage, 'sh', '-c', 'while :; do :; done');
  await sleep(500);
  const [usedBefore, from] = [cpuUsedMs(engine, id), performance.now()];
  await sleep(3_000);
  const share = (cpuUsedMs(engine, id) - usedBefore) / (performance.now() - from);
  await engine.ok('rm', '--force', id);
  assert.ok(share < 0.6, `used ${share.toFixed(2)} of a processor`);
  assert.ok(share > 0.15, `used ${share.toFixed(2)} of a processor: did it run at all?`);
});

test('limits are changed while it runs, in the kernel and in the record; a refused change changes nothing', async () => {
  const memoryLimit = (container: string) => Number(read(limitPaths(engine, container, 'memoryLimit').host));
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

test('a paused container stands still', async () => {
  const id = await engine.ok('run', '--detach', demoImage, 'sh', '-c', 'while :; do :; done');
  await engine.ok('pause', id);
  const used = cpuUsedMs(engine, id);
  await sleep(300);
  assert.equal(cpuUsedMs(engine, id), used);
  await engine.ok('unpause', id);
  await waitFor('it goes on', () => cpuUsedMs(engine, id) > used);
  await engine.ok('rm', '--force', id);
});
