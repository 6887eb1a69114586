import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { ExitFiles, findProcess } from '@flotilla/linux';
import type { LauncherReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { type ExecFile, readExecFiles } from '../shim/task/exec-files.ts';
import { LauncherProcess } from './testing/launcher-process.ts';
import { TestManager } from './testing/test-manager.ts';

type Reply = NonNullable<LauncherReply['reply']>;

const isAlive = (pid: number): boolean => !'ZX'.includes(findProcess(pid)?.state ?? 'X');
const reasonOf = (reply: Reply): string => (reply.$case === 'error' ? reply.value.reason : reply.$case);

async function startLauncher(env: NodeJS.ProcessEnv = {}): Promise<LauncherProcess> {
  await using stack = new AsyncDisposableStack();
  const launcher = stack.use(new LauncherProcess());
  await launcher.start(env);
  stack.move();
  return launcher;
}

async function launched(launcher: LauncherProcess, id: string, behaviour = 'serve') {
  launcher.makeShimDir(id, behaviour);
  const reply = await launcher.launch(id);
  if (reply.$case !== 'launch') throw new Error(`the launcher answered ${JSON.stringify(reply)}`);
  return reply.value;
}

/** Waits until another shim than that serves. */
async function another(launcher: LauncherProcess, id: string, shimPid: number) {
  await launcher.waitUntil(() => launcher.seen(id).pid !== shimPid, `a new shim of ${id}`);
  return launcher.seen(id);
}

function input(launcher: LauncherProcess, id: string): string {
  return readFileSync(join(launcher.run, 'shims', id, 'input'), 'utf8');
}

for (const mode of ['fork', 'spawn'] as const) {
  const env = mode === 'fork' ? {} : { FLOTILLA_FORK: 'spawn' };

  test(`${mode}: a dead shim is replaced, and the new one gets what was kept`, async () => {
    await using launcher = await startLauncher(env);
    const fdsBefore = launcher.openFds();
    const { shimPid, initPid, keptDescriptors } = await launched(launcher, 'one', 'kept');
    assert.deepEqual(keptDescriptors, [], 'names are for the launcher alone');
    await launched(launcher, 'other', 'kept');
    assert.equal((await launcher.state()).keptDescriptors, 2);
    launcher.write('one', 'type', 'first ');
    await launcher.waitUntil(() => input(launcher, 'one') === 'first ', 'the input');
    process.kill(shimPid, 'SIGKILL');
    const seen = await another(launcher, 'one', shimPid);
    assert.deepEqual({ adopt: seen.adopt, replaces: seen.replaces }, { adopt: true, replaces: 0 });
    assert.match(seen.kept.stdin!, /^pipe:/);
    assert.match(seen.kept.init!, /pidfd/);
    assert.deepEqual(Object.keys(seen.kept).sort(), ['init', 'stdin']);
    // Pipes of its loop are its own; those of the other container would be in both.
    const isOthers = (name: string) => /pidfd|socket/.test(name) || launcher.seen('other').held.includes(name);
    assert.deepEqual(seen.fds.filter(isOthers), [seen.kept.init], 'it holds nothing of other containers');
    assert.ok(isAlive(initPid));
    assert.equal(findProcess(initPid)?.parentPid, launcher.pid, 'the launcher is the reaper of its shims');
    launcher.write('one', 'type', 'second ');
    await launcher.waitUntil(() => input(launcher, 'one') === 'first second ', 'input through the new shim');
    const reply = await launcher.launch('one');
    assert.equal(reply.$case === 'launch' && reply.value.shimPid, seen.pid);

    // The end of input is seen only once the launcher, too, has closed its copy.
    launcher.write('one', 'type', 'close');
    await launcher.waitUntil(() => !existsSync(join(launcher.run, 'shims/one/type')), 'the shim closes its end');
    const closeStdin = (run: bigint) => launcher.ask({ $case: 'closeStdin', value: { containerId: 'one', run } });
    assert.equal((await closeStdin(2n)).$case, 'closeStdin', 'of another run');
    assert.equal((await launcher.state()).keptDescriptors, 2);
    assert.equal(input(launcher, 'one'), 'first second ');
    assert.equal((await closeStdin(1n)).$case, 'closeStdin');
    await launcher.waitUntil(() => input(launcher, 'one') === 'first second end\n', 'the end of the input');
    assert.equal((await closeStdin(1n)).$case, 'closeStdin', 'again');

    for (const id of ['one', 'other']) {
      process.kill(JSON.parse(readFileSync(join(launcher.run, 'shims', id, 'shim.json'), 'utf8')).initPid, 'SIGKILL');
    }
    await launcher.waitUntil(() => launcher.openFds() === fdsBefore, 'nothing is left of either');
    const { shims, orphans, keptDescriptors: kept, replacedShims } = await launcher.state();
    assert.deepEqual({ shims, orphans, kept, replacedShims }, { shims: 0, orphans: 0, kept: 0, replacedShims: 1n });
  });

  test(`${mode}: a living shim is replaced on request, and its death is no accident`, async () => {
    await using launcher = await startLauncher(env);
    const { shimPid, initPid } = await launched(launcher, 'up', 'kept');
    const fds = launcher.openFds();
    const replace = (containerId: string) =>
      launcher.ask({
        $case: 'replace',
        value: { containerId, shimDir: join(launcher.run, 'shims', containerId), requestId: 'r2' },
      });
    assert.equal(reasonOf(await replace('nobody')), 'TASK_NOT_RUNNING');
    launcher.write('up', 'behaviour', 'refuse');
    assert.equal(reasonOf(await replace('up')), 'SHIM_FAILED');
    launcher.write('up', 'behaviour', 'say-nothing');
    assert.equal(reasonOf(await replace('up')), 'SHIM_FAILED');
    assert.ok(isAlive(shimPid), 'the old one goes on');
    launcher.write('up', 'behaviour', 'kept');
    const reply = await replace('up');
    assert.deepEqual(reply, { $case: 'replace', value: { shimPid: launcher.seen('up').pid, replacedPid: shimPid } });
    const { adopt, replaces, requestId } = launcher.seen('up');
    assert.deepEqual({ adopt, replaces, requestId }, { adopt: true, replaces: shimPid, requestId: 'r2' });
    await launcher.waitUntil(() => !isAlive(shimPid), 'the end of the old one, which was told to leave or killed');
    assert.ok(isAlive(initPid));
    await launcher.waitUntil(() => launcher.openFds() === fds, 'nothing of the old one is left');
    assert.doesNotMatch(launcher.log, /shim has died/);
    assert.equal((await launcher.state()).shims, 1);
  });
}

test('how a container ended whose shim was killed with it is recorded, and a shim comes to report it', async () => {
  await using launcher = await startLauncher();
  const { shimPid, initPid } = await launched(launcher, 'both');
  process.kill(initPid, 'SIGSTOP'); // It does not see its end before the shim is gone.
  process.kill(shimPid, 'SIGSTOP');
  process.kill(initPid, 'SIGKILL');
  await launcher.waitUntil(() => !isAlive(initPid), 'the end of init, which nobody has reaped');
  process.kill(shimPid, 'SIGKILL');
  const path = join(launcher.run, 'shims/both/state/exit.json');
  await launcher.waitUntil(() => existsSync(path), 'the record');
  const { exitedAtUnixNano, ...rest } = JSON.parse(readFileSync(path, 'utf8'));
  assert.deepEqual(rest, { containerId: 'both', run: '1', exitCode: 137, signal: 9, oomKilled: false });
  assert.ok(Math.abs(Number(BigInt(exitedAtUnixNano) / 1_000_000n) - Date.now()) < 10_000);
  assert.ok((await another(launcher, 'both', shimPid)).adopt);
  await launcher.waitUntil(() => !existsSync(join(launcher.run, 'shims/both/shim.json')), 'it has cleaned up');
});

test('how an exec ended that ended with its shim is written down for the shim that comes', async () => {
  await using launcher = await startLauncher();
  const { shimPid } = await launched(launcher, 'one', 'exec');
  await launcher.waitUntil(() => readExecFiles(join(launcher.run, 'shims/one')).length === 1, 'the exec');
  const [{ pid, startTime }] = readExecFiles(join(launcher.run, 'shims/one')) as [ExecFile];
  const exits = new ExitFiles(join(launcher.run, 'exits'));
  launcher.write('one', 'behaviour', 'serve');
  process.kill(launcher.pid, 'SIGSTOP'); // It comes too late to see the exec alive.
  process.kill(shimPid, 'SIGKILL');
  await launcher.waitUntil(() => findProcess(pid)?.parentPid !== shimPid, 'the death of the shim');
  process.kill(pid, 'SIGTERM');
  await launcher.waitUntil(() => findProcess(pid)?.state === 'Z', 'the end of the exec');
  process.kill(launcher.pid, 'SIGCONT');
  await another(launcher, 'one', shimPid);
  assert.equal(findProcess(pid), undefined, 'it was reaped');
  assert.equal(exits.find(pid, startTime)?.exitCode, 7);
});

test('shims that die again and again are replaced after pauses that grow, and the container does not suffer', async () => {
  await using launcher = await startLauncher();
  const { shimPid, initPid } = await launched(launcher, 'loop');
  launcher.write('loop', 'behaviour', 'die-serving');
  process.kill(shimPid, 'SIGKILL');
  const deaths = () =>
    [...launcher.log.matchAll(/"time":"([^"]+)".*"msg":"shim has died"/g)].map(([, at]) => Date.parse(at!));
  await launcher.waitUntil(() => deaths().length >= 5, 'five deaths');
  const at = deaths();
  // A death is that much later than the one before it, and the first replacement comes at once.
  for (const [i, pauseMs] of [0, 100, 200, 400].entries()) {
    assert.ok(at[i + 1]! - at[i]! >= pauseMs, `${at[i + 1]! - at[i]!} ms after death ${i + 1}`);
  }
  launcher.write('loop', 'behaviour', 'refuse');
  await launcher.waitUntil(() => launcher.log.includes('shim could not adopt its container'), 'a refusal');
  assert.equal((await launcher.state()).orphans, 1);
  assert.equal(reasonOf(await launcher.launch('loop')), 'COMMAND_NOT_FOUND', 'who asks has it tried at once');
  launcher.write('loop', 'behaviour', 'serve');
  assert.equal(reasonOf(await launcher.launch('loop')), 'launch');
  assert.ok(isAlive(initPid));
  assert.equal((await launcher.state()).orphans, 0);
  assert.equal(reasonOf(await launcher.launch('loop', 2n)), 'OTHER_RUN_NOT_OVER');
});

test('a launcher takes up what died while none was there, and watches what did not', async () => {
  await using launcher = await startLauncher();
  const dead = await launched(launcher, 'dead');
  const living = await launched(launcher, 'living');
  execFileSync('mkfifo', [join(launcher.run, 'shims/dead/stdout')]);
  await launcher.stop('SIGKILL');
  process.kill(dead.shimPid, 'SIGKILL');
  await launcher.waitUntil(() => !isAlive(dead.shimPid), 'its death');
  await launcher.start();
  const first = await another(launcher, 'dead', dead.shimPid);
  assert.ok(first.adopt);
  // No manager had kept anything: pidfds and FIFOs can be opened anew.
  assert.deepEqual(Object.keys(first.kept).sort(), ['init', 'stdout']);
  assert.equal(first.kept.stdout, join(launcher.run, 'shims/dead/stdout'));
  assert.equal(findProcess(first.pid)?.parentPid, launcher.pid);
  assert.equal((await launcher.state()).shims, 2);
  assert.equal(launcher.seen('living').pid, living.shimPid);
  process.kill(living.shimPid, 'SIGKILL'); // No child of this launcher.
  const second = await another(launcher, 'living', living.shimPid);
  assert.ok(second.adopt);
  assert.ok(isAlive(living.initPid) && isAlive(dead.initPid));
});

test('what no manager has kept is fetched from the shim, if it lives, and what that has closed is not', async () => {
  await using launcher = await startLauncher();
  const { shimPid } = await launched(launcher, 'open', 'kept');
  await launched(launcher, 'shut', 'kept');
  launcher.write('shut', 'type', 'close');
  await launcher.waitUntil(() => !existsSync(join(launcher.run, 'shims/shut/type')), 'the shim closes its end');
  await launcher.stop('SIGKILL');
  await launcher.waitUntil(() => input(launcher, 'shut') === 'end\n', 'the end of input that nobody keeps open');
  await launcher.start();
  assert.equal((await launcher.state()).keptDescriptors, 1);
  process.kill(shimPid, 'SIGKILL');
  const seen = await another(launcher, 'open', shimPid);
  assert.deepEqual(Object.keys(seen.kept).sort(), ['init', 'stdin']);
  launcher.write('open', 'type', 'still open');
  await launcher.waitUntil(() => input(launcher, 'open') === 'still open', 'input through the copy');
});

test('a shim that is about to adopt does not outlive its launcher: a container has one shim', async () => {
  await using launcher = await startLauncher();
  const { shimPid, initPid } = await launched(launcher, 'torn');
  launcher.write('torn', 'behaviour', 'say-nothing');
  process.kill(shimPid, 'SIGKILL');
  await launcher.waitUntil(() => launcher.log.includes('shim has died'), 'the death');
  await launcher.waitUntil(() => childrenOf(launcher.pid).length === 3, 'template, init and the adopting shim');
  const children = childrenOf(launcher.pid).filter((pid) => pid !== initPid);
  await launcher.stop('SIGKILL');
  await launcher.waitUntil(() => children.every((pid) => !isAlive(pid)), 'the end of its shim');
  launcher.write('torn', 'behaviour', 'serve');
  await launcher.start();
  assert.ok((await another(launcher, 'torn', shimPid)).adopt);
  assert.ok(isAlive(initPid));
});

function childrenOf(pid: number): number[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  return pids.filter((child) => findProcess(child)?.parentPid === pid && isAlive(child));
}

test('what is kept outlives the launcher with the service manager, and goes with the container', async () => {
  await using stack = new AsyncDisposableStack();
  const launcher = stack.use(new LauncherProcess());
  const manager = stack.use(new TestManager(join(launcher.run, 'notify.sock')));
  await launcher.start({ NOTIFY_SOCKET: manager.address });
  assert.ok(manager.hear().isReady);
  const one = '0123456789abcdef'.repeat(4);
  const { shimPid, initPid } = await launched(launcher, one, 'kept');
  await launched(launcher, 'gone', 'kept');
  const all = ['init-gone', 'n0123456789abcdef', 'p0123456789abcdef', 'stdin-gone'];
  await launcher.waitUntil(() => manager.hear().names.length === 4, 'all is stored');
  assert.deepEqual(manager.hear().names, all);
  assert.equal((await launcher.state()).storedDescriptors, 4);

  await launcher.stop('SIGKILL');
  process.kill(shimPid, 'SIGKILL'); // Nobody but the manager has the input now.
  const gone = JSON.parse(readFileSync(join(launcher.run, 'shims/gone/shim.json'), 'utf8'));
  process.kill(gone.pid, 'SIGKILL');
  process.kill(gone.initPid, 'SIGKILL');
  await launcher.waitUntil(() => [shimPid, gone.pid, gone.initPid].every((pid) => !isAlive(pid)), 'their ends');
  rmSync(join(launcher.run, 'shims/gone'), { recursive: true });
  manager.rename('n0123456789abcdef', `stdin-${one}`); // as a launcher of an earlier release had it
  await launcher.start({ NOTIFY_SOCKET: manager.address }, manager.stored);
  const seen = await another(launcher, one, shimPid);
  assert.deepEqual(Object.keys(seen.kept).sort(), ['init', 'stdin']);
  await launcher.waitUntil(() => manager.hear().names.length === 2, 'what is of no use is removed');
  assert.deepEqual(manager.hear().names, ['p0123456789abcdef', `stdin-${one}`]);
  launcher.write(one, 'type', 'still open');
  await launcher.waitUntil(() => input(launcher, one) === 'still open', 'input through the copy');
  process.kill(initPid, 'SIGKILL');
  await launcher.waitUntil(() => manager.hear().names.length === 0, 'all is removed with the container');
});
