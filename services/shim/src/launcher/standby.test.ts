import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeFd, findProcess, sendFds, unixSocketPair } from '@flotilla/linux';
import { LauncherRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { encodeFrame } from './frame.ts';
import { LauncherProcess } from './testing/launcher-process.ts';
import { TestManager } from './testing/test-manager.ts';

test('a launcher that is started again serves before its rehearsal, and forks from the new template after it', async () => {
  await using launcher = new LauncherProcess();
  await launcher.start();
  assert.equal(launcher.said('template is warm'), 0, 'the first one rehearses before');
  await launcher.stop('SIGKILL');
  await launcher.start({ FLOTILLA_STARTED_AGAIN: '1' });
  const early = launcher.said('template is warm');
  launcher.makeShimDir('cold', 'serve');
  assert.equal((await launcher.launch('cold')).$case, 'launch');
  await launcher.waitUntil(() => launcher.said('template is warm') === 1, 'the template is warm');
  launcher.makeShimDir('warm', 'serve');
  assert.equal((await launcher.launch('warm')).$case, 'launch');
  assert.equal(early, 0);
  const { shims, forks } = await launcher.state();
  assert.equal(shims, 2);
  assert.ok(forks >= 2n, 'those of both templates count');
  assert.doesNotMatch(launcher.log, /rehearsal did not work|something of the rehearsal is left/);
});

test('a launcher on standby takes over what is stored, once the one before has finished what was under way', async () => {
  await using stack = new AsyncDisposableStack();
  const launcher = stack.use(new LauncherProcess());
  const manager = stack.use(new TestManager(join(launcher.run, 'notify.sock')));
  await launcher.start({ NOTIFY_SOCKET: manager.address });
  launcher.makeShimDir('one', 'kept');
  const first = await launcher.launch('one');
  const oldPid = launcher.pid;
  const [turnFd, standbyFd] = unixSocketPair({ packets: true });
  stack.defer(() => closeFd(turnFd));
  const standby = launcher.begin({ NOTIFY_SOCKET: manager.address }, new Map([['standby', standbyFd]]));
  closeFd(standbyFd);
  await launcher.waitUntil(() => manager.hear().isLoaded, 'the one on standby has loaded');

  launcher.makeShimDir('slow', 'slow');
  const underWay = launcher.launch('slow');
  const drained = await launcher.ask({ $case: 'drain', value: {} });
  assert.equal(drained.$case, 'drain');
  const made = await underWay;
  assert.equal(made.$case, 'launch', 'what was under way came to its end');
  const between = launcher.launch('one');
  await launcher.waitUntil(() => (findProcess(oldPid)?.state ?? 'Z') === 'Z', 'the old one has left');
  manager.hear();
  assert.equal(launcher.said('ready'), 1);
  sendFds(turnFd, Buffer.from(JSON.stringify({ names: [], isLast: false })), []);
  const all = [...manager.stored];
  const names = all.map(([name]) => name);
  sendFds(
    turnFd,
    Buffer.from(JSON.stringify({ names, isLast: true })),
    all.map(([, fd]) => fd),
  );

  assert.deepEqual(await between, first, 'who asked in between is answered by the new one');
  const { pid, shims, storedDescriptors } = await launcher.state();
  assert.deepEqual({ pid, shims, storedDescriptors }, { pid: standby.pid, shims: 2, storedDescriptors: all.length });
  assert.ok(manager.hear().isReady);
});

test('a launcher goes on when whoever wanted it to leave goes before it can', async () => {
  await using launcher = new LauncherProcess();
  await launcher.start();
  using other = disposable(connect(launcher.socketPath)); // has not asked yet: it is waited for
  await once(other.socket, 'connect');
  await launcher.state(); // so the launcher has taken it in
  const drain = LauncherRequest.encode({ request: { $case: 'drain', value: {} } }).finish();
  const asking = connect(launcher.socketPath);
  asking.write(encodeFrame(drain));
  await sleep(200);
  asking.destroy();
  launcher.makeShimDir('one', 'serve');
  assert.equal((await launcher.launch('one')).$case, 'launch');
  other.socket.destroy();
  assert.equal((await launcher.state()).shims, 1);
});

function disposable(socket: Socket) {
  return { socket, [Symbol.dispose]: () => void socket.destroy() };
}

test('a launcher on standby leaves when there is nobody who could give it its turn', async () => {
  await using launcher = new LauncherProcess();
  const [turnFd, standbyFd] = unixSocketPair({ packets: true });
  const standby = launcher.begin({}, new Map([['standby', standbyFd]]));
  closeFd(standbyFd);
  closeFd(turnFd);
  if (standby.exitCode === null) await once(standby, 'exit');
  assert.equal(standby.exitCode, 0);
  assert.equal(launcher.said('ready'), 0);
});
