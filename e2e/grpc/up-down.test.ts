import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { demoImage, Engine, type ServiceName, serviceNames } from '../harness/engine.ts';
import { namespaceOf } from '../harness/host-state.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const pids = (one: Engine) => [...serviceNames, 'keeper' as const].map((name: ServiceName | 'keeper') => one.pid(name));

test('the first up runs a container and says where the sockets are', () => {
  assert.match(engine.upOutput, /a container said: hello from container [0-9a-f]{12}, pid 1, /);
  assert.ok(engine.upOutput.includes(`${engine.folders.run}/api.sock`));
});

test('a second up changes nothing', async () => {
  const before = [pids(engine), await engine.ok('ps', '--all', '--quiet'), await engine.ok('images', '--quiet')];
  await engine.up();
  assert.match(engine.upOutput, /nothing was changed/);
  assert.deepEqual(
    [pids(engine), await engine.ok('ps', '--all', '--quiet'), await engine.ok('images', '--quiet')],
    before,
  );
});

test('containers go on through down, and are adopted by the next up', async () => {
  const id = await engine.ok(
    'run',
    '--detach',
    demoImage,
    'sh',
    '-c',
    'trap "exit 5" TERM; echo begun; while :; do usleep 10000; done',
  );
  const { initPid } = await engine.status(id);
  const network = namespaceOf(initPid, 'net');
  await engine.down();
  assert.deepEqual(
    pids(engine),
    pids(engine).map(() => undefined),
  );
  assert.equal(namespaceOf(initPid, 'net'), network);
  await engine.up();
  const status = await engine.status(id);
  assert.equal(status.initPid, initPid);
  assert.equal(status.state, 'running');
  assert.equal(await engine.ok('exec', id, 'echo', 'here'), 'here');
  await engine.ok('stop', id);
  assert.equal((await engine.status(id)).exitCode, 5);
  await engine.ok('rm', id);
});

test('a killed keeper is replaced by the next up, which leaves the services alone', async () => {
  const keeper = engine.pid('keeper');
  const services = serviceNames.map((name) => engine.pid(name));
  process.kill(keeper ?? 0, 'SIGKILL');
  await engine.up();
  assert.notEqual(engine.pid('keeper'), keeper);
  assert.deepEqual(
    serviceNames.map((name) => engine.pid(name)),
    services,
  );
  await engine.killAndAwait('api');
});

test('two engines side by side do not disturb each other', async () => {
  const id = await engine.ok('run', '--detach', demoImage, 'sleep', '600');
  {
    await using other = await Engine.start();
    assert.equal(await other.ok('ps', '--quiet'), '');
    const there = await other.ok('run', '--detach', demoImage, 'sleep', '600');
    assert.equal(await engine.ok('ps', '--quiet', '--no-trunc'), id);
    assert.equal(await other.ok('ps', '--quiet', '--no-trunc'), there);
  }
  assert.equal((await engine.status(id)).state, 'running');
  assert.equal(await engine.ok('exec', id, 'echo', 'here'), 'here');
  await engine.ok('rm', '--force', id);
});
