import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProcess, isErrno, setChildSubreaper, waitpid } from '@flotilla/linux';
import { findExitRecord } from '../exit-record.ts';
import { Ledger } from '../output/ledger.ts';
import { ShimRig, type TaskPlan, type TestTask } from '../testing/shim-rig.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'changes the host: set FLOTILLA_ROOT_TESTS=1 as root';

const SIGUSR1 = 10;
const SIGTERM = 15;

const sh = (script: string, plan: Omit<TaskPlan, 'args'> = {}): TaskPlan => ({ args: ['sh', '-c', script], ...plan });
const counting =
  'i=0; while [ $i -lt 2000 ]; do echo "line $i"; i=$((i+1)); [ $((i % 20)) = 0 ] && sleep 0.01; done; exit 5';
const lines = (count: number) => Array.from({ length: count }, (_, i) => `line ${i}\n`).join('');
const execProcess = (args: readonly string[], more = {}) =>
  JSON.stringify({ args, cwd: '/', user: { uid: 0, gid: 0 }, env: ['PATH=/bin'], ...more });

if (skip === false) setChildSubreaper(true); // this process is the launcher's stand-in

/** Reaps, as the launcher does, the init of a shim that was killed. */
async function reap(pid: number): Promise<void> {
  for (;;) {
    try {
      if (waitpid(pid, { noHang: true }) !== undefined) return;
    } catch (error) {
      if (!isErrno(error, 'ECHILD')) throw error;
    }
    if (!existsSync(`/proc/${pid}`)) return;
    await sleep(5);
  }
}

/** Its own parent reaps it. */
async function killShim({ shimPid }: TestTask): Promise<void> {
  process.kill(shimPid, 'SIGKILL');
  while (existsSync(`/proc/${shimPid}`)) await sleep(2);
}

for (const forkMode of ['fork', 'spawn'] as const) {
  describe(`a shim by ${forkMode} that takes over`, { skip }, () => {
    test('from killed ones: output complete and in order, exit code right', async () => {
      await using rig = new ShimRig(forkMode);
      const supervisor = await rig.startSupervisor();
      let task = await rig.launch(sh(counting));
      void reap(task.initPid);
      await task.start();
      for (let kills = 0; kills < 4; kills++) {
        await sleep(100);
        await killShim(task);
        task = await rig.adopt(task);
      }
      assert.equal(await task.wait(), 5);
      assert.equal(task.logText(), lines(2000));
      await supervisor.received(1);
      assert.equal(supervisor.reports[0]?.exitCode, 5);
      assert.equal(findExitRecord(rig.stateDir(task.containerId))?.drained, true);
      await task.client.deleteTask({});
      assert.equal(existsSync(task.shimDir), false);
      assert.deepEqual(rig.cgroups(), []);
    });

    test('from one that lives: clients and followers come back to their places', async () => {
      await using rig = new ShimRig(forkMode);
      let task = await rig.launch(sh(`seq 1 1000; read x; seq 1001 2000; exit 5`, { options: { openStdin: true } }));
      void reap(task.initPid);
      await task.start();
      const before = task.attach({ stdoutPosition: 0n, stderrPosition: 0n });
      await before.sees('\n300\n');
      const old = task;
      task = await rig.adopt(task, { replaces: task.shimPid });
      assert.equal(existsSync(`/proc/${old.shimPid}/cmdline`) && old.shimPid === task.shimPid, false);
      await assert.rejects(before.done, { reason: 'SHIM_REPLACED' });
      const place = { stdoutPosition: BigInt(before.stdout.length), stderrPosition: 0n };
      const after = task.attach({ ...place, stdin: true });
      after.stdin('go on\n');
      await after.done;
      assert.equal(after.exitCode, 5);
      const numbers = Array.from({ length: 2000 }, (_, i) => `${i + 1}\n`).join('');
      assert.equal(before.stdout + after.stdout, numbers);
      assert.equal(task.logText(), numbers);
    });

    test('of a container that ended meanwhile: what it had written is not lost', async () => {
      await using rig = new ShimRig(forkMode);
      let task = await rig.launch(sh('echo one; sleep 0.2; echo two; printf three; exit 3'));
      await task.start();
      await task.logs('one\n');
      await killShim(task);
      await reap(task.initPid);
      task = await rig.adopt(task);
      assert.equal(await task.wait(), 3);
      assert.equal(task.logText(), 'one\ntwo\nthree');
    });

    test('with a terminal', async () => {
      await using rig = new ShimRig(forkMode);
      let task = await rig.launch({ args: ['sh'], process: { terminal: true }, options: { openStdin: true } });
      void reap(task.initPid);
      await task.start();
      const first = task.attach({ stdin: true });
      first.stdin('echo fir""st\n');
      await first.sees('first\r\n');
      await killShim(task);
      task = await rig.adopt(task);
      const second = task.attach({ stdin: true });
      second.stdin('echo sec""ond; exit 4\n');
      await second.sees('second\r\n');
      assert.equal(await task.wait(), 4);
      assert.match(task.logText().replaceAll(/\s+/g, ' '), / first .* second /);
    });

    test('execs: handed over they go on, those of a killed shim end or, detached, go on', async () => {
      await using rig = new ShimRig(forkMode);
      const supervisor = await rig.startSupervisor();
      let task = await rig.launch(sh('sleep 60'));
      void reap(task.initPid);
      await task.start();
      const pid = await task.exec({
        execId: 'a',
        processJson: execProcess(['sh', '-c', 'echo up; read x; echo $x; exit 6']),
        stdin: true,
      });
      void reap(pid);
      const before = task.attach({ execId: 'a', stdin: true });
      await before.sees('up\n');
      task = await rig.adopt(task, { replaces: task.shimPid });
      const after = task.attach({ execId: 'a', stdin: true });
      after.stdin('still here\n');
      await after.done;
      assert.equal(after.stdout, 'still here\n');
      assert.equal(after.exitCode, 6);
      await task.exec({ execId: 'd', processJson: execProcess(['sh', '-c', 'echo early; exit 9']) });
      await supervisor.received(2);
      task = await rig.adopt(task, { replaces: task.shimPid });
      const late = task.attach({ execId: 'd' });
      await late.done;
      assert.deepEqual([late.stdout, late.exitCode], ['early\n', 9]);
      const lost = await task.exec({ execId: 'b', processJson: execProcess(['sleep', '60']) });
      const kept = await task.exec({
        execId: 'c',
        processJson: execProcess(['sh', '-c', 'trap "exit 8" TERM; while :; do sleep 0.05; done']),
        detach: true,
      });
      void reap(lost);
      void reap(kept);
      await killShim(task);
      task = await rig.adopt(task);
      await supervisor.received(3);
      await task.kill({ signal: SIGTERM, execId: 'c' });
      await supervisor.received(4);
      assert.deepEqual(
        supervisor.reports.map((report) => ['execId' in report ? report.execId : '', report.exitCode]),
        [
          ['a', 6],
          ['d', 9],
          ['b', 137],
          ['c', 8],
        ],
      );
    });

    test('an exec that a killed shim had started, or was about to, is not started by the next one', async () => {
      await using rig = new ShimRig(forkMode);
      let task = await rig.launch(sh('sleep 60'));
      void reap(task.initPid);
      await task.start();
      const exec = { execId: 'a', processJson: execProcess(['sleep', '60']) };
      void reap(await task.exec(exec));
      await killShim(task);
      const intent = { execId: 'b', pid: 0, startTime: 0, detach: false };
      writeFileSync(join(task.shimDir, 'execs', 'b'), JSON.stringify(intent));
      task = await rig.adopt(task);
      const lost = (execId: string) => ({ reason: 'EXEC_LOST', metadata: { execId, exitCode: '137' } });
      await assert.rejects(task.exec(exec), lost('a'));
      await assert.rejects(task.exec({ ...exec, execId: 'b' }), lost('b'));
      await assert.rejects(task.exec({ execId: 'c', processJson: execProcess(['/nope']) }), {
        reason: 'COMMAND_NOT_FOUND',
      });
      assert.deepEqual(readdirSync(join(task.shimDir, 'execs')).toSorted(), ['a', 'b']);
    });

    test('an exec that ends while it is handed over for the second time keeps its output and its code', async () => {
      await using rig = new ShimRig(forkMode);
      let task = await rig.launch(sh('sleep 60'));
      void reap(task.initPid);
      await task.start();
      const script = 'trap "echo late; exit 6" TERM; echo up; while :; do sleep 0.02; done';
      const pid = await task.exec({ execId: 'a', processJson: execProcess(['sh', '-c', script]), stdin: true });
      void reap(pid);
      await task.attach({ execId: 'a' }).sees('up\n');
      task = await rig.adopt(task, { replaces: task.shimPid });
      const busy = task.attach({ execId: 'a', stdin: true });
      await busy.attached;
      busy.stdin('x'.repeat(300_000)); // nobody reads it: the hand-over waits
      const old = task;
      const replaced = rig.adopt(old, { replaces: old.shimPid });
      const untilReplaced = async () => {
        for (;;) await Promise.all([old.kill({ signal: 0 }), sleep(5)]);
      };
      await assert.rejects(untilReplaced, { reason: 'SHIM_REPLACED' });
      process.kill(pid, 'SIGTERM');
      task = await replaced;
      const after = task.attach({ execId: 'a' });
      await after.done;
      assert.deepEqual([busy.stdout + after.stdout, after.exitCode], ['late\n', 6]);
    });

    test('detached execs that end while no shim is there: their code is what their reaper saw', async () => {
      await using rig = new ShimRig(forkMode);
      const supervisor = await rig.startSupervisor();
      let task = await rig.launch(sh('sleep 60'));
      void reap(task.initPid);
      await task.start();
      const start = (execId: string, code: number) => {
        const script = `trap "exit ${code}" TERM; : >/tmp/${execId}; while :; do sleep 0.05; done`;
        return task.exec({ execId, processJson: execProcess(['sh', '-c', script]), detach: true });
      };
      const pids = [await start('zombie', 6), await start('reaped', 7), await start('unseen', 8)] as const;
      for (const name of ['zombie', 'reaped', 'unseen']) {
        while (!existsSync(`${rig.dir}/root/tmp/${name}`)) await sleep(5);
      }
      await killShim(task);
      for (const pid of pids) process.kill(pid, 'SIGTERM');
      for (const pid of pids) while (findProcess(pid)?.state !== 'Z') await sleep(5);
      const startTime = findProcess(pids[1])!.startTime;
      rig.exits.write(pids[1], startTime, waitpid(pids[1], { noReap: true }));
      for (const pid of pids.slice(1)) waitpid(pid);
      task = await rig.adopt(task);
      waitpid(pids[0]);
      await supervisor.received(3);
      const codes = supervisor.reports.map((report) => ['execId' in report ? report.execId : '', report.exitCode]);
      assert.deepEqual(codes.sort(), [
        ['reaped', 7],
        ['unseen', 255],
        ['zombie', 6],
      ]);
    });

    test('one whose successor ends before it has answered goes on, with output and input', async () => {
      await using rig = new ShimRig(forkMode);
      const script = 'trap "echo alive; exec head -c 200000" USR1; while :; do sleep 0.02; done';
      const task = await rig.launch(sh(script, { options: { openStdin: true } }));
      await task.start();
      const busy = task.attach({ stdin: true });
      await busy.attached;
      busy.stdin('x'.repeat(200_000)); // nobody reads it: the hand-over waits
      await sleep(100);
      const successor = spawn('sleep', ['60']);
      const refused = assert.rejects(task.client.handOver({ shimPid: successor.pid ?? 0 }), {
        reason: 'SHIM_REPLACED',
      });
      await sleep(100);
      successor.kill('SIGKILL');
      await refused;
      await task.kill({ signal: SIGUSR1 });
      assert.equal(await task.wait(), 0);
      assert.equal(task.logText(), `alive\n${'x'.repeat(200_000)}`);
    });

    for (const [how, takeOver] of [
      ['the launcher has kept its writing end', ['kill']],
      ['the shim before has handed its own copy over', ['hand over', 'hand over']],
    ] as const) {
      test(`the end of input arrives though ${how}`, async () => {
        await using rig = new ShimRig(forkMode);
        let task = await rig.launch(sh('cat; echo end', { options: { openStdin: true } }));
        void reap(task.initPid);
        await task.start();
        for (const one of takeOver) {
          if (one === 'kill') await killShim(task);
          task = await rig.adopt(task, one === 'kill' ? {} : { replaces: task.shimPid });
        }
        const client = task.attach({ stdin: true });
        client.stdin('some\n');
        await client.sees('some\n');
        client.closeStdin();
        rig.releaseStdin(task.containerId); // what the launcher does on CloseStdin
        await client.sees('end\n');
        assert.equal(await task.wait(), 0);
        assert.equal(task.logText(), 'some\nend\n');
      });
    }

    test('a container whose shim was killed while it released init is given up, its end is none of a program', async () => {
      await using rig = new ShimRig(forkMode);
      let task = await rig.launch(sh('echo never'));
      await killShim(task);
      {
        using ledger = new Ledger(task.shimDir);
        ledger.recordStart(1n); // the last that it did
      }
      void reap(task.initPid);
      task = await rig.adopt(task);
      await assert.rejects(task.start(), (error: { reason: string }) =>
        ['SHIM_LOST', 'TASK_NOT_RUNNING'].includes(error.reason),
      );
      assert.equal(findExitRecord(rig.stateDir(task.containerId)), undefined);
    });

    test('a container whose program ran though its shim could not write it down goes on', async () => {
      await using rig = new ShimRig(forkMode);
      let task = await rig.launch(sh('read x; exit 125', { options: { openStdin: true } }));
      await task.start();
      await killShim(task);
      {
        using ledger = new Ledger(task.shimDir);
        ledger.recordStart(1n);
      }
      task = await rig.adopt(task);
      await task.start();
      task.attach({ stdin: true }).stdin('\n');
      void reap(task.initPid);
      assert.equal(await task.wait(), 125);
      assert.equal(findExitRecord(rig.stateDir(task.containerId))?.exitCode, 125);
    });

    test('a container that was not started is given up', async () => {
      await using rig = new ShimRig(forkMode);
      let task = await rig.launch(sh('echo never'));
      void reap(task.initPid);
      await killShim(task);
      task = await rig.adopt(task);
      await assert.rejects(task.start(), (error: { reason: string }) =>
        ['SHIM_LOST', 'TASK_NOT_RUNNING'].includes(error.reason),
      );
      assert.deepEqual(task.log(), []);
    });
  });
}
