import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownNamespaces, ShimRig, type TaskPlan } from '../testing/shim-rig.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'changes the host: set FLOTILLA_ROOT_TESTS=1 as root';

const sh = (script: string, plan: Omit<TaskPlan, 'args'> = {}): TaskPlan => ({ args: ['sh', '-c', script], ...plan });
const terminal = { process: { terminal: true, consoleSize: { height: 25, width: 91 } } };

for (const forkMode of ['fork', 'spawn'] as const) {
  // Much output, and nothing that depends on how the shim was started.
  const byForkAlone = forkMode === 'fork' ? test : () => {};
  describe(`streams of a shim by ${forkMode}`, { skip }, () => {
    test('logs every line of both streams once and in order, and gives them to who is attached', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('seq 1 20000; seq 1 5000 >&2'));
      const client = task.attach({ expected: true });
      await task.start(1);
      await client.done;
      const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i + 1}\n`).join('');
      assert.equal(task.logText('stdout'), numbers(20_000));
      assert.equal(task.logText('stderr'), numbers(5_000));
      assert.equal(client.stdout, numbers(20_000));
      assert.equal(client.stderr, numbers(5_000));
      assert.equal(client.exitCode, 0);
    });

    test('gives a client that was expected the first byte', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('echo first'));
      const starting = task.start(1);
      await sleep(50);
      assert.equal((await task.client.getTask({})).state, 'created');
      const client = task.attach({ expected: true });
      await starting;
      await client.done;
      assert.equal(client.stdout, 'first\n');
    });

    test('gives a client that was expected and is late the first byte, and the end', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('echo first; echo second >&2; exit 4'));
      await task.start(1);
      while (existsSync(`/proc/${task.initPid}`)) await sleep(10); // the shim has recorded its exit and let it go
      const client = task.attach({ expected: true });
      await client.done;
      assert.equal(client.stdout, 'first\n');
      assert.equal(client.stderr, 'second\n');
      assert.equal(client.exitCode, 4);
    });

    test('waits a second for clients that do not come, not longer', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('sleep 10'));
      const before = performance.now();
      await task.start(2);
      assert.ok(performance.now() - before < 2_000);
      assert.equal((await task.client.getTask({})).state, 'running');
    });

    test('gives a terminal its size, its resizes, and what is typed', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('stty size; read line; stty size; echo "got $line"', terminal));
      const client = task.attach({ stdin: true, expected: true });
      await task.start(1);
      await client.sees('25 91');
      assert.equal(client.tty, true);
      await task.client.resizeTerminal({ execId: '', size: { rows: 30, columns: 100 } });
      client.stdin('typed\n');
      await client.sees('got typed');
      await client.sees('30 100');
      await client.done;
      assert.equal(client.exitCode, 0);
      assert.equal(client.stdout, task.logText());
    });

    test('passes the client window on, and job control works', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch({ args: ['sh'], ...terminal });
      const client = task.attach({ stdin: true });
      await client.attached;
      await task.start();
      client.resize(11, 22);
      client.stdin('stty size\n');
      await client.sees('11 22');
      client.stdin('sleep 60\n');
      await sleep(100);
      client.stdin('\x03');
      client.stdin('echo "code $?"\n');
      await client.sees('code 130');
      client.stdin('exit 5\n');
      await client.done;
      assert.equal(client.exitCode, 5);
    });

    test('carries input to its end', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch({ args: ['cat'], options: { openStdin: true } });
      const client = task.attach({ stdin: true });
      await client.attached;
      await task.start();
      client.stdin('hello\n');
      await client.sees('hello\n');
      client.closeStdin();
      rig.releaseStdin(task.containerId); // as the launcher does when the shim asks it
      await client.done;
      assert.equal(client.exitCode, 0);
    });

    test('keeps input open when a client goes, unless it is for one client', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch({ args: ['cat'], options: { openStdin: true } });
      const first = task.attach({ stdin: true });
      await task.start();
      first.stdin('one\n');
      await first.sees('one\n');
      first.cut();
      await first.done.catch(() => {});
      const second = task.attach({ stdin: true });
      second.stdin('two\n');
      await second.sees('two\n');
      const once = await rig.launch({ args: ['cat'], options: { openStdin: true, stdinOnce: true } });
      const only = once.attach({ stdin: true });
      await once.start();
      only.stdin('three\n');
      await only.sees('three\n');
      only.cut();
      await only.done.catch(() => {});
      const again = once.attach({ stdin: true });
      again.stdin('four\n');
      await again.sees('four\n');
      again.leave();
      rig.releaseStdin(once.containerId);
      assert.equal(await once.wait(), 0);
    });

    test('has no input where none is open', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('cat; echo done'));
      assert.equal(await task.run(), 0);
      assert.equal(task.logText(), 'done\n');
    });

    test('lets a user that is not root reopen its output by path', async () => {
      await using rig = new ShimRig(forkMode);
      const process = { user: { uid: 1000, gid: 1000 } };
      const task = await rig.launch(sh('echo out > /dev/stdout; echo err > /dev/stderr', { process }));
      assert.equal(await task.run(), 0);
      assert.equal(task.logText('stdout') + task.logText('stderr'), 'out\nerr\n');
    });

    if (forkMode === 'fork') {
      test('gives the streams to the owner that a user namespace makes of the user', async () => {
        await using rig = new ShimRig(forkMode);
        const mapping = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
        const task = await rig.launch(
          sh('id -u; echo out > /dev/stdout', {
            process: { user: { uid: 7, gid: 8 } },
            linux: {
              namespaces: [...ownNamespaces, { type: 'user' }],
              uidMappings: mapping,
              gidMappings: mapping,
            },
          }),
        );
        const { uid, gid } = statSync(join(task.shimDir, 'stdout'));
        assert.deepEqual([uid, gid], [100_007, 100_008]);
        assert.equal(await task.run(), 0);
        assert.equal(task.logText(), '7\nout\n');
      });
    }

    test('reads what grandchildren wrote before init ended, and does not wait for them', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('(echo from a child; sleep 60) & sleep 0.1; echo end'));
      const before = performance.now();
      assert.equal(await task.run(), 0);
      assert.ok(performance.now() - before < 3_000);
      assert.equal(task.logText(), 'from a child\nend\n');
    });

    byForkAlone('logs nothing with the driver none, and rotates with json-file', async () => {
      await using rig = new ShimRig(forkMode);
      const silent = await rig.launch(sh('seq 1 100000', { options: { logDriver: 'none' } }));
      assert.equal(await silent.run(), 0);
      assert.equal(existsSync(rig.logPath(silent.containerId)), false);
      const task = await rig.launch(sh('seq 1 20000', { options: { logMaxSizeBytes: 1_000_000n, logMaxFiles: 3 } }));
      assert.equal(await task.run(), 0);
      const path = rig.logPath(task.containerId);
      const text = [`${path}.1`, path].map((name) => readFileSync(name, 'utf8')).join('');
      assert.equal(text.trimEnd().split('\n').length, 20_000);
    });

    byForkAlone('drops a client that does not read; the container and its log go on', async () => {
      await using rig = new ShimRig(forkMode);
      const task = await rig.launch(sh('yes 0123456789 | head -n 2000000'));
      const requests = (async function* () {
        yield {
          message: { $case: 'start', value: { stdout: true, stderr: true, stdin: false, execId: '', expected: false } },
        } as never;
        await sleep(60_000, undefined, { ref: false });
      })();
      const slow = task.client.attach(requests)[Symbol.asyncIterator]();
      await slow.next();
      assert.equal(await task.run(), 0);
      await assert.rejects(
        async () => {
          while ((await slow.next()).done !== true);
        },
        { reason: 'CLIENT_TOO_SLOW' },
      );
      assert.equal(readFileSync(rig.logPath(task.containerId), 'latin1').match(/\n/g)!.length, 2_000_000);
    });
  });
}
