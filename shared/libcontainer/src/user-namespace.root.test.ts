import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { defaultMountsFor } from './defaults/index.ts';
import { skipRoot, TestRoot } from './testing/test-root.ts';

const sh = (script: string): string[] => ['/bin/sh', '-c', script];
const all = ['user', 'mount', 'uts', 'ipc', 'pid', 'network', 'cgroup'] as const;

describe('a container in a user namespace', { skip: skipRoot }, () => {
  let root: TestRoot;
  const linux = {
    namespaces: all.map((type) => ({ type })),
    uidMappings: [{ containerID: 0, hostID: 200_000, size: 65_536 }],
    gidMappings: [{ containerID: 0, hostID: 200_000, size: 65_536 }],
  };
  before(() => {
    root = new TestRoot();
    root.owner = 200_000;
    execFileSync('chown', ['-Rh', '200000:200000', root.lower]);
  });
  after(() => root[Symbol.dispose]());

  test('is root inside and an ordinary user outside', async () => {
    const result = await root.run('fork', {
      args: sh(
        'id -u; cat /proc/self/uid_map; echo x > /dev/null; cat /data/passwd; mkdir /etc/new && stat -c %u /etc/new; echo $$; hostname',
      ),
      spec: {
        mounts: [
          ...defaultMountsFor(),
          { destination: '/data', type: 'bind', source: `${root.lower}/etc`, options: ['rbind', 'ro'] },
        ],
      },
      linux,
      scenario: { lookBefore: ['/proc/{pid}/status', '/proc/{pid}/ns/user'] },
    });
    assert.equal(result.error?.message, undefined);
    assert.match(result.stdout, /^0\n\s+0\s+200000\s+65536\nroot:x.*\n/, JSON.stringify(result));
    assert.match(result.stdout, /\n1\nboat\n$/);
    assert.equal(result.stderr, '');
    assert.match(result.before?.['/proc/{pid}/status'] ?? '', /Uid:\t200000\t/);
    assert.notEqual(result.before?.['/proc/{pid}/ns/user'], readlinkSync('/proc/self/ns/user'));
  });

  test('takes execs, and a terminal', async () => {
    const result = await root.run('fork', {
      args: ['/bin/sleep', '60'],
      linux,
      scenario: {
        killAfter: true,
        execs: [
          {
            process: { args: sh('id; cat /proc/self/uid_map'), env: ['PATH=/bin'], cwd: '/', user: { uid: 5, gid: 6 } },
          },
          {
            process: { args: sh('tty; sleep 0.1'), env: ['PATH=/bin'], cwd: '/', user: { uid: 0, gid: 0 } },
            terminal: true,
          },
        ],
      },
    });
    assert.match(result.execs?.[0]?.stdout ?? '', /uid=5 gid=6[\s\S]*200000/, JSON.stringify(result));
    assert.equal(result.execs?.[1]?.terminal, '/dev/pts/0\r\n', JSON.stringify(result.execs?.[1]));
  });

  test('is refused with a clear text where processes are not forked', async () => {
    const result = await root.run('spawn', { linux });
    assert.equal(result.error?.reason, 'UNSUPPORTED', JSON.stringify(result));
  });

  test('leaves nothing behind', async () => {
    assert.deepEqual(root.leftCgroups(), []);
    assert.deepEqual(root.leftMounts(), []);
  });
});
