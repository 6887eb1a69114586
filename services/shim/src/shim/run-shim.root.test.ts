import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { AttachRequest } from '@flotilla/proto/flotilla/shim/v1/shim';
import { findExitRecord } from './exit-record.ts';
import { ownNamespaces, ShimRig, type TaskPlan } from './testing/shim-rig.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'changes the host: set FLOTILLA_ROOT_TESTS=1 as root';
const SIGKILL = 9;
const SIGUSR1 = 10;

const sh = (script: string, plan: Omit<TaskPlan, 'args'> = {}): TaskPlan => ({ args: ['sh', '-c', script], ...plan });
const execProcess = (args: readonly string[]) =>
  JSON.stringify({ args, cwd: '/', user: { uid: 0, gid: 0 }, env: ['PATH=/bin'] });
async function* attachOnly(): AsyncGenerator<AttachRequest> {
  yield AttachRequest.fromPartial({ message: { $case: 'start', value: { stdout: true } } });
  await new Promise(() => {});
}
const childrenOf = (pid: number) => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();

for (const forkMode of ['fork', 'spawn'] as const) {
  describe(`a shim by ${forkMode}`, { skip }, () => {
    test('reports the exit code, after it is on disk, and leaves nothing', async () => {
      await using rig = new ShimRig(forkMode);
      const supervisor = await rig.startSupervisor();
      const task = await rig.launch(sh('echo bye; exit 42'));
      assert.equal(await task.run(), 42);
      await supervisor.received(1);
      const { containerId } = task;
      const record = findExitRecord(rig.stateDir(containerId))!;
      const { exitedAtUnixNano, ...known } = record;
      assert.deepEqual(known, { containerId, run: 1n, exitCode: 42, oomKilled: false, drained: true });
      assert.deepEqual(supervisor.reports, [
        { containerId, run: 1n, exitCode: 42, oomKilled: false, exitedAtUnixNano },
      ]);
      assert.equal((await task.client.getTask({})).exitCode, 42);
      assert.equal((await task.client.deleteTask({})).exitCode, 42);
      assert.equal(existsSync(task.shimDir), false);
      assert.deepEqual(rig.cgroups(), []);
      await rig.ended();
      assert.equal(existsSync(`/proc/${task.shimPid}`), false);
    });

    test('removes its name first, and nothing of a folder that is another shim’s by now', async () => {
      await using rig = new ShimRig(forkMode);
      await rig.startSupervisor();
      const task = await rig.launch(sh('exit 0'));
      await task.run();
      const removed: (string | null)[] = [];
      const watcher = watch(task.shimDir, (_, name) => removed.push(name));
      await task.client.deleteTask({});
      for (let i = 0; i < 3_000 && removed.length < 3; i++) await sleep(10);
      watcher.close();
      assert.equal(removed[0], 'shim.json');
      const other = await rig.launch(sh('exit 0'));
      await other.run();
      const path = join(other.shimDir, 'shim.json');
      const record = JSON.parse(readFileSync(path, 'utf8'));
      writeFileSync(path, JSON.stringify({ ...record, pid: process.pid }));
      const files = readdirSync(other.shimDir);
      await other.client.deleteTask({});
      await rig.ended();
      assert.deepEqual(readdirSync(other.shimDir), files);
      assert.notDeepEqual(rig.cgroups(), []);
      rmSync(other.shimDir, { recursive: true });
    });

    // It takes as long as a client is given time, and has nothing to do with how the shim was started.
    const byForkAlone = forkMode === 'fork' ? test : () => {};
    byForkAlone('leaves the socket of the next run alone, though a client keeps it from leaving', async () => {
      await using rig = new ShimRig(forkMode);
      // Client and server put all of it aside: nothing is left to send, and still the client does not go.
      const task = await rig.launch(sh('for i in $(seq 60); do seq 1 1000; sleep 0.02; done; echo end; sleep 60'));
      const stuck = task.client.attach(attachOnly())[Symbol.asyncIterator]();
      await stuck.next();
      await task.start();
      await task.logs('end\n');
      await task.client.deleteTask({});
      mkdirSync(task.shimDir);
      await using _next = createServer().listen(join(task.shimDir, 'shim.sock'));
      await rig.ended();
      assert.ok(existsSync(join(task.shimDir, 'shim.sock')));
    });

    test('keeps the exit until a supervisor is there, and then reports it once', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('exit 7'));
      await task.run();
      assert.equal(findExitRecord(rig.stateDir(task.containerId))?.exitCode, 7);
      await sleep(300);
      const supervisor = await rig.startSupervisor();
      await supervisor.received(1);
      await sleep(100);
      assert.equal(supervisor.reports.length, 1);
    });

    test('says 137 for a container that was killed', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('sleep 60 & sleep 60'));
      await task.start();
      await task.kill({ signal: SIGKILL });
      assert.equal(await task.wait(), 137);
      assert.equal(findExitRecord(rig.stateDir(task.containerId))?.signal, 9);
      await assert.rejects(task.kill({ signal: SIGKILL }), { reason: 'TASK_NOT_RUNNING' });
    });

    test('delivers other signals, to init or to all', async () => {
      await using rig = new ShimRig(forkMode);
      const script =
        'trap "echo init" USR1; (trap "echo child" USR1; echo up; while :; do sleep 0.05; done) & while :; do wait; done';
      const task = await rig.launch(sh(script));
      await task.start();
      await task.logs('up\n');
      await task.kill({ signal: SIGUSR1 });
      await task.logs('init\n');
      assert.ok(!task.logText().includes('child'));
      await assert.rejects(task.kill({ signal: 65 }), { reason: 'INVALID_FIELD' });
      await task.kill({ signal: SIGKILL, all: true });
      assert.equal(await task.wait(), 137);
    });

    const failures: readonly [string, TaskPlan, string, number][] = [
      ['a command that does not exist', { args: ['nothing-like-it'] }, 'COMMAND_NOT_FOUND', 127],
      ['a file that is no program', { args: ['/bin/data'] }, 'COMMAND_NOT_EXECUTABLE', 126],
    ];
    for (const [name, plan, reason, exitCode] of failures) {
      test(`refuses to start ${name}, and leaves nothing`, async () => {
        await using rig = new ShimRig(forkMode);
        const task = await rig.launch(plan);
        await assert.rejects(task.start(), { reason });
        await rig.ended();
        assert.equal(findExitRecord(rig.stateDir(task.containerId))?.exitCode, exitCode);
        assert.equal(existsSync(task.shimDir), false);
        assert.deepEqual(rig.cgroups(), []);
      });
    }

    test('answers the launch with what was wrong, and leaves nothing', async () => {
      await using rig = new ShimRig(forkMode);
      const { reply } = await rig.tryLaunch({ args: ['true'], process: { cwd: '/bin/busybox' } });
      assert.equal(reply?.$case === 'error' && reply.value.reason, 'WORKING_DIR_INVALID');
      assert.deepEqual(
        readdirSync(rig.lastShimDir).filter((name) => /sock|std/.test(name)),
        [],
      );
      const wrong = await rig.tryLaunch({ args: ['true'], options: { run: 9n } });
      assert.equal(wrong.reply?.$case === 'error' && wrong.reply.value.reason, 'INVALID_FIELD');
      assert.deepEqual(rig.cgroups(), []);
    });

    test('removes a container that was never started', async () => {
      await using rig = new ShimRig(forkMode);
      const supervisor = await rig.startSupervisor();
      const task = await rig.launch(sh('echo never'));
      await task.client.deleteTask({});
      await rig.ended();
      assert.equal(existsSync(task.shimDir), false);
      assert.equal(existsSync(`/proc/${task.initPid}`), false);
      assert.deepEqual(rig.cgroups(), []);
      assert.deepEqual(supervisor.reports, []);
    });

    test('takes a container with it that was not started, should it be killed', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('echo never'));
      process.kill(task.shimPid, 'SIGKILL');
      for (let i = 0; i < 3_000 && existsSync(`/proc/${task.initPid}`); i++) await sleep(10);
      assert.equal(existsSync(`/proc/${task.initPid}`), false);
      rmSync(task.shimDir, { recursive: true });
    });

    test('freezes and thaws, and kills what is frozen', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('while :; do echo tick; sleep 0.02; done'));
      await task.start();
      await task.logs('tick');
      await task.client.pauseTask({});
      assert.equal((await task.client.getTask({})).state, 'paused');
      await sleep(50);
      const frozen = task.logText().length;
      await sleep(100);
      assert.equal(task.logText().length, frozen);
      await task.client.resumeTask({});
      await sleep(150);
      assert.ok(task.logText().length > frozen);
      await task.client.pauseTask({});
      await task.kill({ signal: SIGKILL });
      assert.equal(await task.wait(), 137);
    });

    test('ends and reaps what a container without a pid namespace of its own leaves behind', async () => {
      await using rig = new ShimRig(forkMode);
      const namespaces = ownNamespaces.filter(({ type }) => type !== 'pid');
      const task = await rig.launch(sh('(echo $$; sleep 61) & sleep 1; echo end', { linux: { namespaces } }));
      await task.start();
      const pid = await task.exec({ execId: 'e', processJson: execProcess(['sleep', '62']), detach: true });
      const before = performance.now();
      assert.equal(await task.wait(), 0);
      assert.ok(performance.now() - before < 3_000);
      assert.equal((await task.client.waitTask({ execId: 'e' })).exitCode, 137);
      assert.equal(existsSync(`/proc/${pid}`), false);
      assert.equal(childrenOf(task.shimPid), '');
      assert.ok(task.logText().endsWith('end\n'));
    });

    test('says that a container ran out of memory', async () => {
      await using rig = new ShimRig(forkMode);
      const resources = { memory: { limit: 16 << 20, swap: 16 << 20 } };
      const task = await rig.launch(sh('exec dd if=/dev/zero of=/dev/null bs=64M count=1', { resources }));
      assert.equal(await task.run(), 137);
      assert.equal((await task.client.getTask({})).oomKilled, true);
      assert.equal(findExitRecord(rig.stateDir(task.containerId))?.oomKilled, true);
    });

    test('tells who it is', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('true'));
      const file = JSON.parse(readFileSync(join(task.shimDir, 'shim.json'), 'utf8'));
      assert.deepEqual([file.pid, file.run, file.initPid], [task.shimPid, '1', task.initPid]);
      assert.ok(file.startTime > 0);
      const now = await task.client.getTask({});
      assert.deepEqual([now.containerId, now.run, now.state], [task.containerId, 1n, 'created']);
    });
  });
}
