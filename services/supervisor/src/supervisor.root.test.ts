import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerConfig, DeepPartial } from '@flotilla/proto/flotilla/v1/container';
import { aConfig, anExecConfig } from './testing/builders.ts';
import { noFilter, TestEngine } from './testing/test-engine.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'makes containers: set FLOTILLA_ROOT_TESTS=1 as root';
let engine: TestEngine;

before(async () => {
  if (skip !== false) return;
  engine = new TestEngine();
  await engine.start();
});

after(async () => {
  await engine?.[Symbol.asyncDispose]();
});

async function create(config: DeepPartial<ContainerConfig>, name = ''): Promise<string> {
  const request = { config: aConfig({ networkMode: 'none', ...config }), name, idempotencyKey: '' };
  return (await engine.containers.createContainer(request)).containerId;
}

const start = (container: string) => engine.containers.startContainer({ container });
const remove = (container: string) =>
  engine.containers.removeContainer({ container, force: true, removeVolumes: true });
const nextExit = (container: string, afterRun = 0n) =>
  engine.containers.waitContainer({ container, condition: 'WAIT_CONDITION_NEXT_EXIT', afterRun });
const get = async (container: string) => (await engine.containers.getContainer({ container })).container!;

async function run(
  config: DeepPartial<ContainerConfig>,
): Promise<{ containerId: string; exitCode: number; output: string }> {
  const containerId = await create(config);
  await start(containerId);
  const { exitCode } = await nextExit(containerId);
  return { containerId, exitCode, output: await output(containerId) };
}

async function output(container: string): Promise<string> {
  const parts: Buffer[] = [];
  const request = { container, follow: false, details: false, stdout: true, stderr: true, afterCursor: '' };
  for await (const { data } of engine.containers.streamLogs(request)) parts.push(data);
  return Buffer.concat(parts).toString();
}

/** Once the last of them has come, all that came. */
async function events(containerId: string, last: string): Promise<string[]> {
  const ask = async () => (await engine.eventsOf(containerId)).map(({ action }) => action);
  return engine.until(`events up to ${last}`, ask, (actions) => actions.includes(last));
}

test('a life: output, exit code, environment, events, and nothing is left', { skip }, async () => {
  const script = 'echo out; echo err >&2; hostname; echo $HOSTNAME $HOME $A; cat /etc/hostname; exit 3';
  const { containerId, exitCode, output } = await run({ command: ['sh', '-c', script], env: ['A=b'], hostname: 'box' });
  assert.equal(exitCode, 3);
  const lines = output.trim().split('\n').sort();
  assert.deepEqual(lines, ['box', 'box', 'box /root b', 'err', 'out']);
  const { status, args } = await get(containerId);
  assert.deepEqual([status?.state, status?.exitCode, status?.run, args[0]], ['CONTAINER_STATE_EXITED', 3, 1n, 'sh']);
  await remove(containerId);
  assert.deepEqual(await events(containerId, 'destroy'), ['create', 'start', 'die', 'destroy']);
  await assert.rejects(get(containerId), { reason: 'CONTAINER_NOT_FOUND' });
  for (const folder of [join(engine.paths.root, 'containers'), join(engine.paths.run, 'shims')]) {
    assert.deepEqual(readdirSync(folder), []);
  }
});

test('a user by name has its groups, folder and capabilities', { skip }, async () => {
  const { containerId, output } = await run({
    command: ['sh', '-c', 'id; echo $HOME; cat /proc/self/status'],
    user: 'www',
  });
  assert.match(output, /uid=33\(www\) gid=33\(www\) groups=(33\(www\),)?6\(disk\)/);
  assert.match(output, /^\/tmp$/m);
  assert.match(output, /^CapEff:\t0{16}$/m);
  assert.match(output, /^Seccomp:\t2$/m);
  await remove(containerId);
});

for (const [command, reason, exitCode] of [
  ['/nope', 'COMMAND_NOT_FOUND', 127],
  ['/etc/notes', 'COMMAND_NOT_EXECUTABLE', 126],
] as const) {
  test(`${command} is ${reason}, exit code ${exitCode}, and the container can be removed`, { skip }, async () => {
    const containerId = await create({ command: [command] });
    await assert.rejects(start(containerId), { reason });
    const { status } = await get(containerId);
    assert.deepEqual([status?.state, status?.exitCode], ['CONTAINER_STATE_CREATED', exitCode]);
    assert.ok(status?.error.includes(command));
    await remove(containerId);
    assert.equal(existsSync(join(engine.paths.run, 'shims', containerId)), false);
  });
}

test('a container that ends while the supervisor is dead: right exit code, one event of each kind', {
  skip,
}, async () => {
  const containerId = await create({ command: ['sh', '-c', 'sleep 0.5; echo done; exit 42'] });
  await start(containerId);
  await engine.kill('supervisor');
  await engine.kill('nats');
  await sleep(1_200);
  await engine.startNats();
  engine.startService('supervisor');
  assert.equal((await nextExit(containerId)).exitCode, 42);
  assert.equal(await output(containerId), 'done\n');
  assert.deepEqual(await events(containerId, 'die'), ['create', 'start', 'die']);
  await remove(containerId);
  assert.deepEqual(await events(containerId, 'destroy'), ['create', 'start', 'die', 'destroy']);
});

test('a supervisor that is killed again and again loses no start, no exit and no event', { skip }, async () => {
  const ids: string[] = [];
  let killing = true;
  let kills = 0;
  const killer = (async () => {
    for (; killing; kills++) {
      await sleep(150 + 100 * (kills % 5));
      await engine.kill('supervisor');
      engine.startService('supervisor');
      await engine.containers.listContainers(noFilter, { deadlineMs: 60_000 });
    }
  })();
  while (ids.length < 12 || kills < 3) {
    const name = `churn-${ids.length}`;
    const config = aConfig({ networkMode: 'none', command: ['sh', '-c', 'exit 7'] });
    const { containerId } = await persist(() =>
      engine.containers.createContainer({ config, name, idempotencyKey: name }),
    );
    await persist(() => start(containerId));
    ids.push(containerId);
  }
  killing = false;
  await killer;
  for (const containerId of ids) {
    assert.equal((await nextExit(containerId)).exitCode, 7);
    const actions = await events(containerId, 'die');
    // A start that was sent twice, because its answer was lost, may have run it twice.
    const { status } = await get(containerId);
    const runs = Array.from({ length: Number(status?.run) }, () => ['start', 'die']).flat();
    assert.deepEqual(actions, ['create', ...runs]);
    await remove(containerId);
  }
});

/** Sends a call again while nobody answers. */
async function persist<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      const { code } = error as { code?: string };
      if (attempt > 50 || (code !== 'unavailable' && code !== 'aborted')) throw error;
      await sleep(50);
    }
  }
}

test('a container whose shim is killed goes on, and its exit code is kept', { skip }, async () => {
  const containerId = await create({ command: ['sh', '-c', 'sleep 1; exit 9'] });
  await start(containerId);
  const { status } = await get(containerId);
  process.kill(status!.shimPid, 'SIGKILL');
  await sleep(300);
  assert.equal((await get(containerId)).status?.state, 'CONTAINER_STATE_RUNNING');
  assert.equal((await nextExit(containerId)).exitCode, 9);
  assert.deepEqual(await events(containerId, 'die'), ['create', 'start', 'die']);
  await remove(containerId);
});

test('stop and restart announce what Docker announces; SIGKILL follows the stop signal', { skip }, async () => {
  const containerId = await create({ command: ['sh', '-c', 'trap "exit 5" TERM; while true; do sleep 0.05; done'] });
  await start(containerId);
  await sleep(200);
  const { run: second } = await engine.containers.restartContainer({ container: containerId, signal: '' });
  assert.equal(second, 2n);
  await sleep(200);
  await engine.containers.stopContainer({ container: containerId, signal: 'USR2', timeoutSeconds: 0 });
  assert.ok([137, 140].includes((await get(containerId)).status?.exitCode ?? 0));
  const again = await engine.containers.stopContainer({ container: containerId, signal: '' });
  assert.equal(again.changed, false);
  const actions = await events(containerId, 'restart');
  assert.deepEqual(actions.slice(0, 8), ['create', 'start', 'kill', 'stop', 'die', 'start', 'restart', 'kill']);
  await remove(containerId);
});

test('a stubborn container is killed in bounded time', { skip }, async () => {
  const containerId = await create({ command: ['sh', '-c', 'trap "" TERM; while true; do sleep 0.05; done'] });
  await start(containerId);
  await sleep(200);
  await engine.containers.stopContainer({ container: containerId, signal: '', timeoutSeconds: 1 });
  assert.equal((await get(containerId)).status?.exitCode, 137);
  const actions = await events(containerId, 'die');
  assert.deepEqual(actions, ['create', 'start', 'kill', 'kill', 'stop', 'die']);
  await remove(containerId);
});

test('a frozen container does nothing, and is removed by force', { skip }, async () => {
  const containerId = await create({ command: ['sh', '-c', 'while true; do echo x; sleep 0.02; done'] });
  await start(containerId);
  await sleep(200);
  await engine.containers.pauseContainer({ container: containerId });
  await sleep(100);
  const frozen = (await output(containerId)).length;
  await sleep(300);
  assert.equal((await output(containerId)).length, frozen);
  await engine.containers.unpauseContainer({ container: containerId });
  await engine.until(
    'more output',
    () => output(containerId),
    (text) => text.length > frozen,
  );
  await engine.containers.pauseContainer({ container: containerId });
  await remove(containerId);
  const actions = await events(containerId, 'destroy');
  assert.deepEqual(actions, ['create', 'start', 'pause', 'unpause', 'pause', 'kill', 'die', 'destroy']);
});

test('logs are followed across a kill of the supervisor by cursor, without a gap or a double', { skip }, async () => {
  const script = 'n=0; while [ $n -lt 400 ]; do echo $n; n=$((n+1)); sleep 0.005; done';
  const log = { driver: '', options: { 'max-size': '4k', 'max-file': '50' } };
  const containerId = await create({ command: ['sh', '-c', script], log });
  await start(containerId);
  const numbers: number[] = [];
  const restarts: Promise<void>[] = [];
  const restart = () => engine.kill('supervisor').then(() => engine.startService('supervisor'));
  let afterCursor = '';
  const request = { container: containerId, follow: true, details: false, stdout: true, stderr: false };
  for (let done = false; !done; ) {
    try {
      for await (const { data, cursor } of engine.containers.streamLogs({ ...request, afterCursor })) {
        numbers.push(Number(data));
        afterCursor = cursor;
        if (numbers.length === 100 || numbers.length === 250) restarts.push(restart());
      }
      done = true;
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'unavailable');
      await sleep(50);
    }
  }
  assert.deepEqual(
    numbers,
    Array.from({ length: 400 }, (_, n) => n),
  );
  assert.equal(restarts.length, 2);
  await Promise.all(restarts);
  await persist(() => remove(containerId));
});

test('an exec runs in the container, is told of, and ends with its exit code', { skip }, async () => {
  const containerId = await create({ command: ['sleep', '30'], env: ['A=1'] });
  await start(containerId);
  const config = anExecConfig({ command: ['sh', '-c', 'echo $A > /tmp/seen; exit 6'] });
  const { execId } = await engine.execs.createExec({ container: containerId, config });
  await engine.supervisor.startExecProcess({ execId, detach: true });
  const ask = async () => (await engine.execs.getExec({ execId })).exec;
  const exec = await engine.until('the exec', ask, (found) => found?.running === false && found.exitCode !== undefined);
  assert.equal(exec?.exitCode, 6);
  const none = await engine.execs.createExec({ container: containerId, config: { ...config, command: ['/nope'] } });
  await assert.rejects(engine.supervisor.startExecProcess({ execId: none.execId, detach: true }), {
    reason: 'COMMAND_NOT_FOUND',
  });
  await remove(containerId);
  const actions = await events(containerId, 'destroy');
  assert.equal(actions.filter((action) => action === 'exec_die').length, 2);
  await assert.rejects(engine.execs.getExec({ execId }), { reason: 'EXEC_NOT_FOUND' });
});

test('with an init, tmpfs, a bind mount, a read-only root and limits', { skip }, async () => {
  const { containerId, output, exitCode } = await run({
    command: [
      'sh',
      '-c',
      'cat /proc/1/cmdline; echo; touch /x 2>&1; touch /t/y && echo ok; cat /b; cat /proc/self/mounts',
    ],
    init: true,
    readOnlyRoot: true,
    mounts: [
      { type: 'MOUNT_TYPE_TMPFS', target: '/t', tmpfsSizeBytes: 1n << 20n },
      { type: 'MOUNT_TYPE_BIND', source: '/etc/debian_version', target: '/b', readOnly: true },
    ],
    resources: { memoryBytes: 64n << 20n, pidsLimit: 20n },
  });
  assert.equal(exitCode, 0);
  assert.match(output, /^\/dev\/init/);
  assert.match(output, /Read-only file system/);
  assert.match(output, /^ok$/m);
  assert.ok(output.includes(readFileSync('/etc/debian_version', 'utf8')));
  await remove(containerId);
});

test('a container explains itself from the kernel’s files', { skip }, async () => {
  const containerId = await create({ command: ['sleep', '30'], resources: { pidsLimit: 33n } });
  await start(containerId);
  const { sections } = await engine.containers.explainContainer({ container: containerId });
  const rowsOf = (title: string) => sections.find((section) => section.title === title)?.rows ?? [];
  assert.ok(rowsOf('Processes').some(({ value }) => value === 'sleep 30'));
  assert.match(rowsOf('Namespaces').find(({ name }) => name === 'pid')?.value ?? '', /^pid:\[\d+\]$/);
  assert.ok(rowsOf('Control groups').some(({ name, value }) => name === 'pids.max' && value === '33'));
  assert.equal(rowsOf('Privileges').find(({ name }) => name === 'Seccomp')?.value, 'filter');
  assert.ok(rowsOf('Mounts').some(({ name }) => name === '/proc'));
  assert.ok(rowsOf('Layers').some(({ name, value }) => name === 'writable' && existsSync(value)));
  await remove(containerId);
});

test('a service that is down is named, and nothing is left behind', { skip }, async () => {
  await engine.kill('launcher');
  const containerId = await create({ command: ['true'] });
  const reason = { reason: 'SERVICE_UNAVAILABLE', code: 'unavailable' };
  await assert.rejects(
    engine.containers.startContainer({ container: containerId }, { deadlineMs: 15_000 }),
    (error: Error) => {
      assert.match(error.message, /launcher/);
      assert.deepEqual(
        { reason: (error as { reason?: string }).reason, code: (error as { code?: string }).code },
        reason,
      );
      return true;
    },
  );
  assert.match((await nextExit(containerId)).error, /launcher/);
  engine.startService('launcher');
  const { run } = await engine.containers.startContainer({ container: containerId });
  assert.equal((await nextExit(containerId, run - 1n)).exitCode, 0);
  await remove(containerId);
});

test('on the bridge: an address, /etc/hosts, and the sandbox goes with the container', { skip }, async () => {
  const containerId = await create({
    command: ['sh', '-c', 'cat /etc/hosts /etc/resolv.conf; sleep 30'],
    networkMode: '',
    hostname: 'web',
  });
  await start(containerId);
  const { endpoints } = await get(containerId);
  const address = endpoints[0]?.ipv4Address.split('/')[0] ?? '';
  assert.match(address, /^\d+\.\d+\.\d+\.\d+$/);
  await engine.until(
    'hosts',
    () => output(containerId),
    (text) => text.includes(`${address}\tweb`),
  );
  const joined = await run({ command: ['hostname', '-i'], networkMode: `container:${containerId}` });
  assert.equal((await get(joined.containerId)).sandboxId, containerId);
  await remove(joined.containerId);
  await remove(containerId);
});

test('lists answer while a shim is stopped', { skip }, async () => {
  const containerId = await create({ command: ['sleep', '30'], labels: { stuck: 'yes' } }, 'stuck');
  await start(containerId);
  const { status } = await get(containerId);
  process.kill(status!.shimPid, 'SIGSTOP');
  try {
    const startedAt = performance.now();
    const { containers } = await engine.containers.listContainers({ ...noFilter, labels: ['stuck=yes'] });
    assert.equal(containers.length, 1);
    assert.ok(performance.now() - startedAt < 500);
    // The signal goes past the shim that does not answer.
    const ending = engine.containers.killContainer({ container: containerId, signal: 'KILL' }, { deadlineMs: 10_000 });
    await ending;
  } finally {
    process.kill(status!.shimPid, 'SIGCONT');
  }
  assert.equal((await nextExit(containerId)).exitCode, 137);
  await remove(containerId);
});
