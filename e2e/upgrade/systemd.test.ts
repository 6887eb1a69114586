import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sweepInstance } from '../harness/host-state.ts';
import { mustRun, runProgram } from '../harness/run-program.ts';
import { Systemd, whyNoSystemd } from '../harness/systemd.ts';
import { makeTestFolders, type TestFolders } from '../harness/test-folders.ts';
import { waitFor } from '../harness/wait.ts';
import { makeBusyboxRoot } from '../images/busybox-root.ts';

// The units of deploy/systemd under a real systemd, which keeps sockets and descriptors as the keeper does elsewhere.
const skip = whyNoSystemd() ?? false;
const services = ['image', 'network', 'launcher', 'supervisor', 'api'] as const;
const cli = fileURLToPath(new URL('../../services/cli/bin/flotilla', import.meta.url));
const image = 'systemd/test:latest';

let folders: TestFolders;
let systemd: Systemd;
const env = () => ({ ...process.env, FLOTILLA_ROOT: folders.root, FLOTILLA_RUN: folders.run });
const ok = async (...args: string[]) => (await mustRun(cli, args, { env: env() })).trimEnd();

interface Status {
  readonly initPid: number;
  readonly shimPid?: number;
}
const statusOf = async (id: string): Promise<Status> => JSON.parse(await ok('inspect', id))[0].status;

before(async () => {
  if (skip !== false) return;
  folders = makeTestFolders();
  systemd = await Systemd.start(folders);
});
after(async () => {
  if (skip !== false) return;
  try {
    await runProgram(cli, ['rm', '--force', 'counter'], { env: env() });
    await systemd.control('stop', 'flotilla.target');
    await systemd[Symbol.asyncDispose]();
  } finally {
    sweepInstance(folders.folder, folders.instance);
  }
});

test('the target starts every service, and each says that it is ready', { skip }, async () => {
  await systemd.control('start', 'flotilla.target');
  for (const name of services) {
    await waitFor(
      `${name} is active`,
      async () => {
        return (await systemd.property(`flotilla-${name}.service`, 'ActiveState')) === 'active';
      },
      60_000,
    );
  }
  const root = join(folders.folder, 'rootfs');
  mkdirSync(root);
  await makeBusyboxRoot(root);
  await mustRun('tar', ['-C', root, '-cf', `${root}.tar`, '.']);
  await ok('import', `${root}.tar`, image);
  assert.equal(await ok('run', '--rm', image, 'echo', 'works'), 'works');
});

test('a restart of each service leaves containers alone', { skip }, async () => {
  const script = 'i=0; while :; do echo $i; i=$((i+1)); usleep 20000; done';
  await ok('run', '--detach', '--tty', '--name', 'counter', image, 'sh', '-c', script);
  const { initPid } = await statusOf('counter');
  for (const name of services) await systemd.control('restart', `flotilla-${name}.service`);
  assert.equal(await ok('exec', 'counter', 'echo', 'here'), 'here');
  assert.equal((await statusOf('counter')).initPid, initPid);
});

test('what systemd keeps brings a terminal back whose shim and launcher were killed at once', { skip }, async () => {
  const { shimPid = 0, initPid } = await statusOf('counter');
  assert.ok(Number(await systemd.property('flotilla-launcher.service', 'NFileDescriptorStore')) > 0);
  const launcherPid = Number(await systemd.property('flotilla-launcher.service', 'MainPID'));
  process.kill(launcherPid, 'SIGKILL');
  process.kill(shimPid, 'SIGKILL');
  await waitFor(
    'another shim has taken over',
    async () => {
      const now = await statusOf('counter');
      return now.shimPid !== undefined && now.shimPid !== shimPid && now.initPid === initPid;
    },
    60_000,
  );
  assert.equal(await ok('exec', 'counter', 'echo', 'here'), 'here');
});

test('containers outlive the target, and no number of their output is missing', { skip }, async () => {
  const { initPid } = await statusOf('counter');
  await systemd.control('stop', 'flotilla.target');
  for (const name of services) {
    await waitFor(`${name} is not active`, async () => {
      return (await systemd.property(`flotilla-${name}.service`, 'ActiveState')) === 'inactive';
    });
  }
  assert.ok(existsSync(`/proc/${initPid}`));
  await systemd.control('start', 'flotilla.target');
  await waitFor('the engine answers', async () => (await runProgram(cli, ['ps'], { env: env() })).code === 0, 60_000);
  const numbers = (await ok('logs', 'counter')).split(/\r?\n/).map(Number);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i),
  );
  await ok('rm', '--force', 'counter');
});
