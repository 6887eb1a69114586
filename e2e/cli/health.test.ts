import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { actionsOf, storedEvents } from '../harness/events.ts';
import { mustRun } from '../harness/run-program.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

interface Health {
  readonly status: string;
  readonly failingStreak?: number;
  readonly probes: readonly { readonly exitCode?: number; readonly output: string }[];
}

async function health(container: string): Promise<Health | undefined> {
  const [found] = JSON.parse(await engine.ok('inspect', container)) as [{ status: { health?: Partial<Health> } }];
  const { health: seen } = found.status;
  return seen && { status: '', probes: [], ...seen };
}

function becomes(container: string, status: string): Promise<Health> {
  return waitFor(`${container} is ${status}`, async () => {
    const seen = await health(container);
    return seen?.status === `HEALTH_STATUS_${status.toUpperCase()}` ? seen : undefined;
  });
}

async function actionCount(containerId: string, action: string): Promise<number> {
  const events = await storedEvents(engine);
  return events.filter((event) => event.actorId === containerId && event.action === action).length;
}

const run = (name: string, ...args: string[]) => engine.ok('run', '--detach', '--name', name, ...args);
const listed = (...args: string[]) => engine.ok('ps', '--format', '{{.Names}}: {{.Status}}', ...args);
const forever = ['sleep', '600'];

test('healthy, unhealthy, healthy again, also when the supervisor is killed in between; each change is told once', async () => {
  const probe = 'test -f /tmp/ok && echo good || { echo bad; exit 3; }';
  const flags = ['--health-cmd', probe, '--health-interval', '400ms', '--health-retries', '2'];
  const id = await run(
    'patient',
    ...flags,
    '--health-start-period',
    '5m',
    '--health-start-interval',
    '300ms',
    demoImage,
    ...forever,
  );
  await waitFor('a check that fails within the start period', async () => ((await health(id))?.probes.length ?? 0) > 1);
  assert.match(await listed(), /^patient: Up .* \(health: starting\)$/);
  assert.equal(await engine.ok('ps', '--quiet', '--no-trunc', '--filter', 'health=starting'), id);

  await engine.ok('exec', id, 'touch', '/tmp/ok');
  assert.equal((await becomes(id, 'healthy')).probes.at(-1)?.output, 'good\n');
  assert.match(await listed('--filter', 'health=healthy'), /^patient: Up .* \(healthy\)$/);

  await engine.ok('exec', id, 'rm', '/tmp/ok');
  const ill = await becomes(id, 'unhealthy');
  assert.ok((ill.failingStreak ?? 0) >= 2);
  assert.deepEqual([ill.probes.at(-1)?.exitCode, ill.probes.at(-1)?.output], [3, 'bad\n']);
  assert.match(await listed(), /\(unhealthy\)$/);

  await engine.killAndAwait('supervisor');
  const then = await becomes(id, 'unhealthy');
  await waitFor('the streak goes on', async () => ((await health(id))?.failingStreak ?? 0) > (then.failingStreak ?? 0));
  await engine.ok('exec', id, 'touch', '/tmp/ok');
  assert.equal((await becomes(id, 'healthy')).probes.length, 5);

  await engine.ok('pause', id);
  const frozen = await health(id);
  await engine.ok('run', '--rm', demoImage, 'sleep', '1');
  assert.deepEqual((await health(id))?.probes, frozen?.probes);
  await engine.ok('rm', '--force', id);
  const told = (await actionsOf(engine, id, 'destroy')).filter((action) => action.startsWith('health_status'));
  assert.deepEqual(told, ['health_status: healthy', 'health_status: unhealthy', 'health_status: healthy']);
});

test('a check that takes too long is killed with all it has started', async () => {
  const flags = ['--health-interval', '200ms', '--health-timeout', '700ms', '--health-retries', '2'];
  const id = await run('slow', '--health-cmd', 'sleep 555 & echo begun; wait', ...flags, demoImage, ...forever);
  const { probes } = await becomes(id, 'unhealthy');
  assert.deepEqual(
    [probes.at(-1)?.exitCode, probes.at(-1)?.output],
    [-1, 'Health check exceeded timeout (700ms): begun\n'],
  );
  await waitFor('some more checks', async () => (await actionCount(id, 'exec_die')) > 3);
  const left = (await engine.ok('exec', id, 'ps', '-o', 'args')).split('\n').filter((line) => line === 'sleep 555');
  assert.ok(left.length <= 1, `${left.length} are left`);
  await engine.ok('rm', '--force', id);
});

test("an image's check holds, what the user gives stands over it, and it can be left out", async () => {
  const root = join(engine.folders.folder, 'image');
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  symlinkSync('busybox', join(root, 'bin/ash'));
  const tar = `${root}.tar`;
  await mustRun('tar', ['-C', root, '-cf', tar, '.'], {});
  const check = 'HEALTHCHECK --interval=300ms --retries=1 CMD ["busybox", "echo", "of the image"]';
  await engine.ok('import', '--change', check, tar, 'checked:1');
  const command = ['checked:1', 'busybox', 'sleep', '600'];
  const id = await run('checked', ...command);
  assert.equal((await becomes(id, 'healthy')).probes[0]?.output, 'of the image\n');
  const other = await run('other', '--health-cmd', 'exit 7', ...command);
  assert.match((await becomes(other, 'unhealthy')).probes[0]?.output ?? '', /\/bin\/sh/);
  const without = await run('without', '--no-healthcheck', ...command);
  assert.equal(await health(without), undefined);
  await engine.ok('rm', '--force', id, other, without);
});

test('no health without a check, and an impossible interval is refused', async () => {
  const plain = await run('plain', demoImage, ...forever);
  assert.equal(await health(plain), undefined);
  assert.match(await listed('--filter', 'health=none'), /^plain: Up [^()]*$/);
  const config = ['--health-cmd', 'x', '--health-interval', '1us'];
  assert.match((await engine.flotilla(['run', ...config, demoImage])).stderr, /healthcheck\.interval_nanos/);
  await engine.ok('rm', '--force', plain);
});

test('want of memory is told at once, for each process that the kernel kills, and the container goes on', async () => {
  const id = await run('hungry', '--memory', '32m', demoImage, 'sh', '-c', 'tail /dev/zero; exec sleep 600');
  await waitFor('the first is told', async () => (await actionCount(id, 'oom')) === 1);
  const { state, oomKilled } = await engine.status(id);
  assert.deepEqual({ state, oomKilled }, { state: 'running', oomKilled: true });
  await engine.killAndAwait('supervisor');
  assert.equal((await engine.flotilla(['exec', id, 'tail', '/dev/zero'])).code, 137);
  await waitFor('the second is told', async () => (await actionCount(id, 'oom')) === 2);
  await engine.ok('rm', '--force', id);
  const actions = await actionsOf(engine, id, 'destroy');
  assert.equal(actions.filter((action) => action === 'oom').length, 2);
});
