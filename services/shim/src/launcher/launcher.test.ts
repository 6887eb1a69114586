import assert from 'node:assert/strict';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { connect } from 'node:net';
import process from 'node:process';
import { test } from 'node:test';
import { findProcess } from '@flotilla/linux';
import { LauncherReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { findFrame } from './frame.ts';
import { LauncherProcess } from './testing/launcher-process.ts';

const isAlive = (pid: number): boolean => (findProcess(pid)?.state ?? 'Z') !== 'Z';

for (const mode of ['fork', 'spawn'] as const) {
  const env = mode === 'fork' ? {} : { FLOTILLA_FORK: 'spawn' };

  test(`${mode}: a launch starts one shim, which holds nothing of the launcher's`, async () => {
    await using launcher = await startLauncher(env);
    for (const id of ['one', 'two']) launcher.makeShimDir(id, 'serve');
    const [first, again, second] = await Promise.all(['one', 'one', 'two'].map((id) => launcher.launch(id)));
    assert.equal(first!.$case, 'launch');
    assert.deepEqual(again, first, 'two who ask at once get the same shim');
    assert.notDeepEqual(second, first);
    assert.deepEqual(await launcher.launch('one'), first, 'and so does one who asks later');
    const { requestId, forkMode, fds } = launcher.seen('one');
    assert.deepEqual({ requestId, forkMode }, { requestId: 'r1', forkMode: mode });
    assert.deepEqual(
      fds.filter((name) => /socket|signalfd|pidfd|\.sock/.test(name)),
      [],
    );
    assert.equal(fds.length, launcher.seen('two').fds.length);
    const state = await launcher.ask({ $case: 'state', value: {} });
    assert.equal(state.$case, 'state');
    if (state.$case !== 'state') return;
    const { pid, shims, forkMode: stateMode, forkProblem } = state.value;
    const expected = {
      pid: launcher.pid,
      shims: 2,
      stateMode: mode,
      forkProblem: env.FLOTILLA_FORK ? 'FLOTILLA_FORK=spawn' : '',
    };
    assert.deepEqual({ pid, shims, stateMode, forkProblem }, expected);
  });

  test(`${mode}: what goes wrong in a shim is said to those who asked`, async () => {
    await using launcher = await startLauncher(env);
    for (const behaviour of ['exit-early', 'refuse', 'say-nothing', 'serve'])
      launcher.makeShimDir(behaviour, behaviour);
    const answers = await Promise.all([
      launcher.launch('exit-early'),
      launcher.launch('refuse'),
      launcher.launch('say-nothing'),
      launcher.launch('serve'),
      launcher.launch('../up'),
      launcher.ask({ $case: 'launch', value: { containerId: 'a', run: 1n, shimDir: 'relative', requestId: '' } }),
      launcher.ask(undefined),
    ]);
    assert.deepEqual(answers.map(reasonOf), [
      '13 SHIM_FAILED',
      '5 COMMAND_NOT_FOUND',
      '4 SHIM_TIMEOUT',
      'launch',
      '3 INVALID_FIELD',
      '3 INVALID_FIELD',
      '3 INVALID_FIELD',
    ]);
  });
}

async function startLauncher(env: NodeJS.ProcessEnv = {}): Promise<LauncherProcess> {
  await using stack = new AsyncDisposableStack();
  const launcher = stack.use(new LauncherProcess());
  await launcher.start(env);
  stack.move();
  return launcher;
}

function reasonOf(reply: NonNullable<LauncherReply['reply']>): string {
  return reply.$case === 'error' ? `${reply.value.code} ${reply.value.reason}` : reply.$case;
}

async function launched(launcher: LauncherProcess, id: string): Promise<{ shimPid: number; initPid: number }> {
  launcher.makeShimDir(id, 'serve');
  const reply = await launcher.launch(id);
  assert.equal(reply.$case, 'launch');
  return reply.$case === 'launch' ? reply.value : { shimPid: 0, initPid: 0 };
}

test('thirty launches at once are under way at the same time', async () => {
  await using launcher = await startLauncher();
  const ids = Array.from({ length: 30 }, (_, i) => `c${i}`);
  for (const id of ids) launcher.makeShimDir(id, 'slow');
  const startedAt = performance.now();
  const replies = await Promise.all(ids.map((id) => launcher.launch(id)));
  assert.ok(performance.now() - startedAt < 30 * 300, 'each shim alone takes 300 ms');
  assert.equal(new Set(replies.map((reply) => reply.$case === 'launch' && reply.value.shimPid)).size, 30);
});

test('shims outlive the launcher, the next one knows them, and nobody who asks in between is refused', async () => {
  await using launcher = await startLauncher();
  const { shimPid } = await launched(launcher, 'lasting');
  await launcher.stop('SIGKILL');
  const between = launcher.launch('lasting');
  await launcher.start();
  const reply = await between;
  assert.equal(reply.$case === 'launch' && reply.value.shimPid, shimPid);
  assert.equal(reasonOf(await launcher.launch('lasting', 2n)), '9 OTHER_RUN_NOT_OVER');
  await launcher.stop('SIGTERM');
  assert.ok(isAlive(shimPid));
});

test('bytes that are no request are refused, and a client that leaves is forgotten', async () => {
  await using launcher = await startLauncher();
  launcher.makeShimDir('slow', 'slow');
  const launch = launcher.launch('slow');
  const impatient = connect(launcher.socketPath);
  impatient.end(Buffer.from([0x7f, 1, 2]));
  const wrong = connect(launcher.socketPath);
  wrong.write(Buffer.alloc(8, 0xff));
  const [bytes] = await once(wrong, 'data');
  const { reply } = LauncherReply.decode(findFrame(bytes, 1 << 20)!);
  assert.equal(reasonOf(reply!), '3 INVALID_FIELD');
  assert.equal((await launch).$case, 'launch');
});

test('the binary of the launcher and its shims lies on a mount that is read-only', {
  skip: skipUnlessRoot(),
}, async () => {
  await using launcher = await startLauncher();
  const { shimPid } = await launched(launcher, 'exe');
  for (const pid of [launcher.pid, shimPid]) {
    assert.throws(() => accessSync(`/proc/${pid}/exe`, constants.W_OK), { code: 'EROFS' });
  }
  accessSync(process.execPath, constants.W_OK); // Elsewhere it is not.
});

function skipUnlessRoot(): string | false {
  return process.getuid?.() === 0 ? false : 'needs root: a detached mount is made';
}
