import assert from 'node:assert/strict';
import { existsSync, readlinkSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { defaultMountsFor } from './defaults/index.ts';
import type { Starter } from './index.ts';
import { skipRoot, TestRoot } from './testing/test-root.ts';

const sh = (script: string): string[] => ['/bin/sh', '-c', script];
const namespaces = ['mnt', 'uts', 'ipc', 'pid', 'net', 'cgroup'] as const;

for (const starter of ['fork', 'spawn'] satisfies Starter[]) {
  describe(`a container made by ${starter}`, { skip: skipRoot }, () => {
    let root: TestRoot;
    before(() => {
      root = new TestRoot();
    });
    after(() => {
      root[Symbol.dispose]();
    });

    test('runs its command in namespaces of its own and gives its exit code', async () => {
      const links = namespaces.map((name) => `/proc/{pid}/ns/${name}`);
      const result = await root.run(starter, {
        args: sh('echo out; echo err >&2; exit 7'),
        scenario: { lookBefore: links },
      });
      assert.deepEqual(result.error, undefined);
      assert.equal(result.exitCode, 7);
      assert.equal(result.stdout, 'out\n');
      assert.equal(result.stderr, 'err\n');
      for (const name of namespaces) {
        assert.notEqual(result.before?.[`/proc/{pid}/ns/${name}`], readlinkSync(`/proc/self/ns/${name}`), name);
      }
    });

    test('is process 1, sees only itself, has its host name, environment, user, umask and working directory', async () => {
      const script =
        'echo $$; hostname; env; id; umask; pwd; cat /proc/self/oom_score_adj; ls -d /proc/[0-9]*; touch /home/u/f; stat -c %u:%g:%a /home/u/f';
      const result = await root.run(starter, {
        args: sh(script),
        process: {
          env: ['PATH=/bin', 'GREETING=hello there'],
          cwd: '/home/u',
          user: { uid: 0, gid: 12, umask: 0o027, additionalGids: [13, 14] },
          oomScoreAdj: 500,
        },
      });
      assert.equal(result.stderr, '');
      const lines = result.stdout.split('\n');
      assert.deepEqual(lines.slice(0, 2), ['1', 'boat']);
      assert.ok(lines.includes('GREETING=hello there'));
      assert.ok(!result.stdout.includes('FLOTILLA'), 'nothing of the engine is in the environment');
      assert.ok(lines.includes('uid=0(root) gid=12 groups=13,14'), result.stdout);
      assert.equal(lines.slice(-6).join(' '), '0027 /home/u 500 /proc/1 0:12:640 ');
    });

    test('as another user has no capabilities, the groups it was given and no way to its init', async () => {
      const result = await root.run(starter, {
        args: sh('id; grep -E "Cap(Prm|Eff|Amb)" /proc/self/status; touch /bin/x'),
        process: { user: { uid: 1000, gid: 1001, additionalGids: [1002] } },
      });
      assert.match(result.stdout, /uid=1000 gid=1001 groups=1002\n/);
      assert.match(result.stdout, /CapPrm:\t0+\nCapEff:\t0+\nCapAmb:\t0+\n/);
      assert.match(result.stderr, /Permission denied/);
    });

    test('has the default capabilities, in all five sets as they were given', async () => {
      const usual = await root.run(starter, { args: ['/bin/grep', 'Cap', '/proc/self/status'] });
      assert.equal(
        usual.stdout,
        'CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n',
      );
      const names = ['CAP_NET_BIND_SERVICE'];
      const ambient = await root.run(starter, {
        args: ['/bin/grep', 'Cap', '/proc/self/status'],
        process: {
          user: { uid: 1000, gid: 1000 },
          capabilities: {
            bounding: [...names, 'CAP_CHOWN'],
            effective: names,
            permitted: names,
            inheritable: names,
            ambient: names,
          },
        },
      });
      assert.equal(
        ambient.stdout,
        'CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\nCapBnd:\t0000000000000401\nCapAmb:\t0000000000000400\n',
      );
    });

    test('is confined by seccomp and no_new_privs', async () => {
      const result = await root.run(starter, {
        args: sh('grep -E "Seccomp:|NoNewPrivs" /proc/self/status; unshare -U true; mount -t tmpfs x /tmp'),
        process: { noNewPrivileges: true },
      });
      assert.match(result.stdout, /NoNewPrivs:\t1\nSeccomp:\t2\n/);
      assert.match(result.stderr, /unshare.*Operation not permitted/);
      assert.match(result.stderr, /mount.*ermission/);
    });

    test('cannot see or write what is masked or read-only', async () => {
      const script =
        'wc -c < /proc/timer_list; ls /sys/firmware | wc -l; echo x > /proc/sys/kernel/msgmax; echo x > /proc/fs/x; echo x > /sys/fs/cgroup/cgroup.procs; touch /sys/x';
      const result = await root.run(starter, { args: sh(script) });
      assert.equal(result.stdout, '0\n0\n');
      assert.equal(result.stderr.match(/Read-only file system/g)?.length, 3, result.stderr);
      assert.match(result.stderr, /\/proc\/fs\/x: (nonexistent directory|Read-only)/);
    });

    test('has a read-only root when it asks, with writable mounts on it', async () => {
      const result = await root.run(starter, {
        args: sh('touch /x; touch /tmp/y && ls /tmp; touch /vol/z; cat /vol/hello'),
        spec: {
          root: { path: 'rootfs', readonly: true },
          mounts: [
            ...defaultMountsFor(),
            { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'size=1m'] },
            { destination: '/vol', type: 'bind', source: `${root.lower}/etc`, options: ['rbind', 'ro', 'rprivate'] },
          ],
        },
      });
      assert.equal(result.error?.message, undefined);
      assert.equal(result.stdout, 'y\n');
      assert.match(result.stderr, /\/x: Read-only[\s\S]*\/vol\/z: Read-only/);
    });

    test('has the default devices and may use no others', async () => {
      const script =
        'ls /dev | sort; echo hi > /dev/null && head -c 3 /dev/zero | wc -c; head -c 2 /dev/urandom | wc -c; mknod /tmp/sda b 254 0 && head -c 1 /tmp/sda';
      const result = await root.run(starter, {
        args: ['/bin/busybox', 'sh', '-c', `${script.replaceAll('sort', 'busybox sort')}`],
      });
      const listed = result.stdout.split('\n');
      for (const name of [
        'null',
        'zero',
        'full',
        'random',
        'urandom',
        'tty',
        'pts',
        'ptmx',
        'shm',
        'mqueue',
        'fd',
        'stdin',
        'stdout',
        'stderr',
      ]) {
        assert.ok(listed.includes(name), `${name} in ${result.stdout}`);
      }
      assert.deepEqual(listed.slice(-3), ['3', '2', '']);
      assert.match(result.stderr, /sda.*Operation not permitted/);
    });

    test('gets devices and sysctls that it asks for', async () => {
      const result = await root.run(starter, {
        args: sh('stat -c "%t:%T %a %u" /dev/net/tun; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax'),
        linux: {
          devices: [{ path: '/dev/net/tun', type: 'c', major: 10, minor: 200, fileMode: 0o640, uid: 5, gid: 6 }],
          sysctl: { 'net.ipv4.ip_forward': '1', 'kernel.msgmax': '12345' },
        },
      });
      assert.equal(result.error?.message, undefined);
      assert.equal(result.stdout, 'a:c8 640 5\n1\n12345\n');
    });

    test('finds the loopback interface up and nothing else in a new network namespace', async () => {
      const result = await root.run(starter, { args: sh('cat /proc/net/dev | wc -l; cat /sys/class/net/lo/flags') });
      assert.equal(result.stdout, '3\n0x9\n');
    });

    test('has a terminal of the size asked for as its controlling terminal and console', async () => {
      const result = await root.run(starter, {
        args: sh('tty; stty size; stat -c %t /dev/console; echo told > /dev/tty; echo console > /dev/console'),
        process: { terminal: true },
        scenario: { terminal: { columns: 101, rows: 33 } },
      });
      assert.equal(result.error?.message, undefined);
      assert.equal(result.terminal, '/dev/pts/0\r\n33 101\r\n88\r\ntold\r\nconsole\r\n');
    });

    test('takes further processes: same namespaces, groups, confinement, own user and directory', async () => {
      const result = await root.run(starter, {
        args: ['/bin/sleep', '60'],
        scenario: {
          killAfter: true,
          execs: [
            {
              process: {
                args: sh(
                  'hostname; pwd; id; grep -E "Seccomp:|CapEff" /proc/self/status; readlink /proc/self/ns/net; cat /proc/self/cgroup; exit 9',
                ),
                env: ['PATH=/bin'],
                cwd: '/tmp',
                user: { uid: 7, gid: 8 },
              },
            },
            {
              process: {
                args: ['/bin/readlink', '/proc/1/ns/net'],
                cwd: '/',
                user: { uid: 0, gid: 0 },
                capabilities: {
                  permitted: ['CAP_SYS_PTRACE'],
                  effective: ['CAP_SYS_PTRACE'],
                  bounding: ['CAP_SYS_PTRACE'],
                },
              },
            },
            { process: { args: ['nowhere'], env: ['PATH=/bin'], cwd: '/', user: { uid: 0, gid: 0 } } },
            { process: { args: ['not-executable'], env: ['PATH=/bin'], cwd: '/', user: { uid: 0, gid: 0 } } },
            { process: { args: ['/bin/true'], cwd: '/etc/passwd', user: { uid: 0, gid: 0 } } },
            {
              process: {
                args: sh('tty; stty size; sleep 0.1'),
                env: ['PATH=/bin'],
                cwd: '/',
                user: { uid: 0, gid: 0 },
              },
              terminal: true,
            },
          ],
        },
      });
      const [first, second, missing, plain, file, terminal] = result.execs ?? [];
      assert.equal(first?.exitCode, 9, JSON.stringify(first));
      assert.match(first?.stdout ?? '', /^boat\n\/tmp\nuid=7 gid=8\n(?:.*\n)*Seccomp:\t2\nnet:/);
      const groups = (first?.stdout ?? '').split('\n').filter((line) => /^\d+:/.test(line));
      assert.ok(groups.length > 0 && groups.every((line) => line.endsWith(':/')), first?.stdout);
      assert.ok(first?.stdout.includes(second?.stdout ?? '?'), JSON.stringify(second));
      assert.equal(missing?.error?.reason, 'COMMAND_NOT_FOUND');
      assert.equal(plain?.error?.reason, 'COMMAND_NOT_EXECUTABLE');
      assert.equal(file?.error?.reason, 'WORKING_DIR_INVALID');
      assert.equal(terminal?.terminal, '/dev/pts/0\r\n25 81\r\n', JSON.stringify(terminal));
      assert.equal(result.signal, 9);
    });

    for (const [args, cwd, reason, exitCode] of [
      [['nowhere'], '/', 'COMMAND_NOT_FOUND', 127],
      [['/bin/nowhere'], '/', 'COMMAND_NOT_FOUND', 127],
      [['no-interpreter'], '/', 'COMMAND_NOT_FOUND', 127],
      [['not-executable'], '/', 'COMMAND_NOT_EXECUTABLE', 126],
      [['/bin'], '/', 'COMMAND_NOT_EXECUTABLE', 126],
      [['/bin/true'], '/etc/passwd', 'WORKING_DIR_INVALID', undefined],
      [['/bin/true'], '/etc/passwd/below', 'WORKING_DIR_INVALID', undefined],
    ] as const) {
      test(`says ${reason} for ${args} in ${cwd}`, async () => {
        const result = await root.run(starter, { args, process: { cwd } });
        assert.equal(result.error?.reason, reason, JSON.stringify(result));
        assert.equal(result.exitCode, exitCode);
      });
    }

    test('holds its limits, and every group is gone afterwards', async () => {
      const path = `${root.parent}/limits`;
      const result = await root.run(starter, {
        args: sh('for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; true'),
        linux: {
          cgroupsPath: path,
          resources: {
            pids: { limit: 5 },
            memory: { limit: 32 << 20 },
            cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: '0' },
          },
        },
        scenario: {
          lookBefore: [
            `/sys/fs/cgroup/pids${path}/pids.max`,
            `/sys/fs/cgroup/memory${path}/memory.limit_in_bytes`,
            `/sys/fs/cgroup/cpu${path}/cpu.cfs_quota_us`,
            `/sys/fs/cgroup/cpuset${path}/cpuset.cpus`,
            '/proc/{pid}/cgroup',
          ].filter((file) => file.startsWith('/proc') || existsSync(file.slice(0, file.indexOf(root.parent)))),
        },
      });
      assert.match(result.stderr, /can't fork/);
      const seen = Object.values(result.before ?? {});
      assert.match(seen.at(-1) ?? '', new RegExp(`:${path}$`, 'm'));
      if (seen.length === 5) assert.deepEqual(seen.slice(0, 4), ['5', String(32 << 20), '50000', '0']);
      assert.deepEqual(root.leftCgroups(), []);
    });

    test('that needs more memory than it may have is killed, and that is counted', async () => {
      const result = await root.run(starter, {
        args: sh('x=$(head -c 50000000 /dev/zero | busybox tr "\\0" x); echo survived'),
        linux: { resources: { memory: { limit: 16 << 20, swap: 16 << 20 } } },
      });
      assert.doesNotMatch(result.stdout, /survived/);
      assert.ok((result.oomKills ?? 0) > 0, JSON.stringify(result));
    });

    test('sets resource limits, and says which it may not raise', async () => {
      const result = await root.run(starter, {
        args: sh('ulimit -n; ulimit -Hn; ulimit -c'),
        process: {
          rlimits: [
            { type: 'RLIMIT_NOFILE', soft: 100, hard: 200 },
            { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
          ],
        },
      });
      assert.equal(result.stdout, '100\n200\n0\n');
      assert.deepEqual(result.warnings, []);
    });

    test('shares the namespaces of the host that it does not list', async () => {
      const result = await root.run(starter, {
        args: sh('for one in net pid ipc; do readlink /proc/self/ns/$one; done'),
        linux: { namespaces: [{ type: 'mount' }, { type: 'uts' }] },
      });
      assert.equal(
        result.stdout,
        `${['net', 'pid', 'ipc'].map((name) => readlinkSync(`/proc/self/ns/${name}`)).join('\n')}\n`,
        JSON.stringify(result),
      );
    });

    test('leaves no descriptor of the engine to the program', async () => {
      const result = await root.run(starter, { args: sh('ls /proc/self/fd') });
      assert.equal(result.stdout, '0\n1\n2\n3\n'); // 3 is the folder that ls reads
    });

    test('leaves nothing behind', async () => {
      assert.deepEqual(root.leftCgroups(), []);
      assert.deepEqual(root.leftMounts(), []);
    });
  });
}
