import assert from 'node:assert/strict';
import process from 'node:process';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ShimRig, type TaskPlan } from '../testing/shim-rig.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'changes the host: set FLOTILLA_ROOT_TESTS=1 as root';
const SIGKILL = 9;

const sh = (script: string, plan: Omit<TaskPlan, 'args'> = {}): TaskPlan => ({ args: ['sh', '-c', script], ...plan });
const execProcess = (args: readonly string[], more: object = {}) =>
  JSON.stringify({ args, cwd: '/', user: { uid: 0, gid: 0 }, env: ['PATH=/bin'], ...more });

for (const forkMode of ['fork', 'spawn'] as const) {
  describe(`execs of a shim by ${forkMode}`, { skip }, () => {
    test('runs execs: output, exit code, end of input, and their report before the one of the task', async () => {
      await using rig = new ShimRig(forkMode);
      const supervisor = await rig.startSupervisor();
      const task = await rig.launch(sh('sleep 60'));
      await task.start();
      const processJson = execProcess(['sh', '-c', 'cat; echo err >&2; exit 3']);
      const pid = await task.exec({ execId: 'e1', processJson, stdin: true });
      assert.deepEqual((await task.client.getTask({})).execIds, ['e1']);
      assert.equal(await task.exec({ execId: 'e1', processJson, stdin: true }), pid);
      const client = task.attach({ execId: 'e1', stdin: true });
      client.stdin('some input');
      client.closeStdin();
      await client.done;
      assert.deepEqual([client.stdout, client.stderr, client.exitCode], ['some input', 'err\n', 3]);
      assert.equal(await task.wait('e1'), 3);
      await task.exec({ execId: 'e2', processJson: execProcess(['sleep', '60']), detach: true });
      await task.kill({ signal: SIGKILL });
      await supervisor.received(3);
      assert.deepEqual(
        supervisor.reports.map((report) => ['execId' in report ? report.execId : 'task', report.exitCode]),
        [
          ['e1', 3],
          ['e2', 137],
          ['task', 137],
        ],
      );
      assert.equal(task.logText(), '', 'execs are not logged');
    });

    test('keeps the output of an exec for a client that comes late', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('sleep 60'));
      await task.start();
      await task.exec({ execId: 'e', processJson: execProcess(['sh', '-c', 'echo early; exit 4']) });
      assert.equal(await task.wait('e'), 4);
      await sleep(50);
      const client = task.attach({ execId: 'e' });
      await client.done;
      assert.deepEqual([client.stdout, client.exitCode], ['early\n', 4]);
    });

    test('gives an exec a terminal', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('sleep 60'));
      await task.start();
      const processJson = execProcess(['sh'], { terminal: true });
      await task.exec({ execId: 'e', processJson, stdin: true, size: { rows: 12, columns: 34 } });
      const client = task.attach({ execId: 'e', stdin: true });
      client.stdin('stty size\n');
      await client.sees('12 34');
      await task.client.resizeTerminal({ execId: 'e', size: { rows: 21, columns: 43 } });
      client.stdin('stty size\n');
      await client.sees('21 43');
      client.stdin('exit 6\n');
      await client.done;
      assert.equal(client.exitCode, 6);
      await assert.rejects(task.client.resizeTerminal({ execId: '', size: { rows: 1, columns: 1 } }), {
        reason: 'NO_TERMINAL',
      });
    });

    test('says what is wrong with an exec', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('sleep 60'));
      await assert.rejects(task.exec({ execId: 'e', processJson: execProcess(['true']) }), {
        reason: 'TASK_NOT_RUNNING',
      });
      await task.start();
      const refused: readonly [string, string][] = [
        ['{', 'INVALID_FIELD'],
        ['{"args":[]}', 'INVALID_FIELD'],
        [execProcess(['nothing-like-it']), 'COMMAND_NOT_FOUND'],
        [execProcess(['/bin/data']), 'COMMAND_NOT_EXECUTABLE'],
      ];
      for (const [processJson, reason] of refused) {
        await assert.rejects(task.exec({ execId: 'e', processJson }), { reason });
      }
      await assert.rejects(task.wait('e'), { reason: 'EXEC_NOT_FOUND' });
      await task.client.pauseTask({});
      await assert.rejects(task.exec({ execId: 'e', processJson: execProcess(['true']) }), {
        reason: 'TASK_PAUSED',
      });
    });
  });
}
