import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LinuxNamespaceType } from '@flotilla/oci';
import type { Starter } from './index.ts';
import { skipRoot, TestRoot } from './testing/test-root.ts';

const names: readonly (readonly [LinuxNamespaceType, string])[] = [
  ['network', 'net'],
  ['uts', 'uts'],
  ['ipc', 'ipc'],
  ['pid', 'pid'],
];

describe('a container that shares namespaces', { skip: skipRoot }, () => {
  let root: TestRoot;
  let holder: ChildProcess;
  let pid: number;
  before(async () => {
    root = new TestRoot();
    holder = spawn('unshare', ['-n', '-u', '-i', '-p', '-f', '--kill-child', 'sleep', '60'], { stdio: 'ignore' });
    pid = await childOf(holder.pid!);
  });
  after(() => {
    holder.kill('SIGKILL');
    root[Symbol.dispose]();
  });

  const joined = (own: readonly LinuxNamespaceType[]) => ({
    namespaces: [
      ...own.map((type) => ({ type })),
      ...names.map(([type, name]) => ({ type, path: `/proc/${pid}/ns/${name}` })),
    ],
  });

  for (const starter of ['fork', 'spawn'] satisfies Starter[]) {
    test(`joins them by path, and so do its execs (${starter})`, async () => {
      const result = await root.run(starter, {
        args: ['/bin/sh', '-c', 'echo $$; exec sleep 60'],
        spec: { hostname: undefined },
        linux: joined(['mount', 'cgroup']),
        scenario: {
          lookDuring: names.map(([, name]) => `/proc/{pid}/ns/${name}`),
          killAfter: true,
          execs: [
            {
              process: {
                args: ['/bin/sh', '-c', 'for n in net uts ipc pid; do readlink /proc/self/ns/$n; done'],
                env: ['PATH=/bin'],
                cwd: '/',
                user: { uid: 0, gid: 0 },
              },
            },
          ],
        },
      });
      const expected = names.map(([, name]) => readlinkSync(`/proc/${pid}/ns/${name}`));
      assert.deepEqual(Object.values(result.during ?? {}), expected, JSON.stringify(result));
      assert.equal(result.execs?.[0]?.stdout, `${expected.join('\n')}\n`);
      assert.notEqual(result.stdout, '1\n', 'it is not the first process there');
      assert.equal(readFileSync(`/proc/${holder.pid}/comm`, 'utf8'), 'unshare\n');
    });
  }

  test('makes init by the slow fork when the shim has threads', async () => {
    const result = await root.run('fork', {
      args: ['/bin/sh', '-c', 'echo $$; cat /proc/self/cgroup'],
      scenario: { threads: true },
    });
    assert.match(result.stdout, /^1\n/, JSON.stringify(result));
    assert.ok(
      result.stdout
        .trim()
        .split('\n')
        .slice(1)
        .every((line) => line.endsWith(':/')),
      result.stdout,
    );
  });

  test('with a path that is no namespace is refused', async () => {
    for (const path of ['/etc/passwd', '/nowhere', '/proc/self/ns/ipc']) {
      const result = await root.run('fork', {
        linux: { namespaces: [{ type: 'mount' }, { type: 'network', path }, { type: 'uts' }] },
      });
      assert.equal(result.error?.reason, 'CONTAINER_SETUP_FAILED', path);
      assert.match(result.error?.message ?? '', /network namespace/);
    }
  });

  test('leaves nothing behind', () => assert.deepEqual(root.leftCgroups(), []));
});

async function childOf(parent: number): Promise<number> {
  for (;;) {
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim();
    if (children !== '') return Number(children.split(' ')[0]);
    await sleep(5);
  }
}
