import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { actionsOf } from '../harness/events.ts';
import { inTerminal } from '../harness/terminal.ts';
import { waitFor } from '../harness/wait.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const forever = ['sleep', '600'];
const run = (...args: string[]) => engine.ok('run', '--detach', ...args, demoImage, ...forever);
const window = { rows: 24, columns: 80 };

test('a privileged exec has what a privileged container has: all capabilities and no filter; another one has neither', async () => {
  const id = await run('--cap-drop', 'ALL');
  const look = ['grep', '-E', '^(CapEff|CapBnd|Seccomp):', '/proc/self/status'];
  const wanted = await engine.ok('run', '--rm', '--privileged', demoImage, ...look);
  assert.match(wanted, /^Seccomp:\t0$/m);
  assert.equal(await engine.ok('exec', '--privileged', id, ...look), wanted);
  assert.equal(
    await engine.ok('exec', id, ...look),
    'CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nSeccomp:\t2',
  );
  await engine.ok('rm', '--force', id);
});

test('user, environment, working directory and files of environment are those of the exec; it can be left alone', async () => {
  const id = await run('--env', 'KEPT=1', '--workdir', '/etc');
  const file = join(engine.folders.folder, 'some.env');
  writeFileSync(file, '# no variable\nFROM_FILE=a b\nKEPT=2\n');
  const script = 'id -un; pwd; echo "$KEPT $FROM_FILE $MINE $HOME"';
  const flags = ['--user', 'nobody', '--env-file', file, '--env', 'MINE=3', '--workdir', '/tmp'];
  const home = await engine.ok('exec', id, 'sh', '-c', 'grep ^nobody: /etc/passwd | cut -d: -f6');
  assert.equal(await engine.ok('exec', ...flags, id, 'sh', '-c', script), `nobody\n/tmp\n2 a b 3 ${home}`);
  assert.equal(await engine.ok('exec', id, 'sh', '-c', script), 'root\n/etc\n1   /root');

  assert.equal(await engine.ok('exec', '--detach', id, 'sh', '-c', 'echo done > /tmp/detached'), '');
  for (const flags of [
    ['--user', 'no-one'],
    ['--workdir', '/etc/passwd'],
  ]) {
    assert.equal((await engine.flotilla(['exec', ...flags, id, 'true'])).code, 126, flags.join(' '));
  }
  await waitFor('the detached exec has run', async () => {
    const { stdout } = await engine.flotilla(['exec', id, 'cat', '/tmp/detached']);
    return stdout === 'done\n';
  });
  await engine.ok('rm', '--force', id);
});

test('attaching and detaching are told as Docker tells them', async () => {
  const ticking = 'while :; do echo tick; sleep 1; done';
  const id = await engine.ok('run', '--detach', '--interactive', '--tty', demoImage, 'sh', '-c', ticking);
  const keys = ['--detach-keys', 'ctrl-x'];
  const typed = ['\x18'];
  const left = await inTerminal(engine, ['exec', '-it', ...keys, id, 'sh'], { ...window, after: /# /, typed });
  assert.equal(left.code, 0);
  assert.equal((await inTerminal(engine, ['attach', ...keys, id], { ...window, after: /tick/, typed })).code, 0);
  assert.equal((await engine.status(id)).state, 'running');
  await engine.ok('rm', '--force', id);
  const actions = await actionsOf(engine, id, 'destroy');
  assert.deepEqual(
    actions.filter((action) => /attach|detach|exec_(create|start)/.test(action)),
    ['exec_create: sh', 'exec_start: sh', 'exec_detach', 'attach', 'detach'],
  );
});

test('a foreground run is attached to before it starts', async () => {
  await engine.ok('run', '--name', 'front', demoImage, 'true');
  const [{ containerId }] = JSON.parse(await engine.ok('inspect', 'front')) as [{ containerId: string }];
  assert.deepEqual(await actionsOf(engine, containerId, 'die'), ['create', 'attach', 'start', 'die']);
  await engine.ok('rm', 'front');
});

test("containers that share an IPC namespace share memory, through no link of the other's making", async () => {
  const owner = await run('--ipc', 'shareable', '--name', 'owner');
  await engine.ok('exec', owner, 'sh', '-c', 'echo ours > /dev/shm/note');
  assert.equal(await engine.ok('run', '--rm', '--ipc', 'container:owner', demoImage, 'cat', '/dev/shm/note'), 'ours');
  const guest = await run('--ipc', 'container:owner');
  await engine.ok('exec', guest, 'sh', '-c', 'echo yours > /dev/shm/answer');
  assert.equal(await engine.ok('exec', owner, 'cat', '/dev/shm/answer'), 'yours');
  const alone = await engine.flotilla(['run', '--rm', demoImage, 'cat', '/dev/shm/note']);
  assert.notEqual(alone.code, 0);

  await engine.ok(
    'exec',
    '--privileged',
    owner,
    'sh',
    '-c',
    'umount /dev/shm && rmdir /dev/shm && ln -s /etc /dev/shm',
  );
  const led = await engine.flotilla(['run', '--rm', '--ipc', 'container:owner', demoImage, 'ls', '/dev/shm']);
  assert.equal(led.code, 125);
  assert.match(led.stderr, /leads through a link/);
  await engine.ok('rm', '--force', owner, guest);
});
