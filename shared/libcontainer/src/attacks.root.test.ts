import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { defaultMountsFor } from './defaults/index.ts';
import { skipRoot, TestRoot } from './testing/test-root.ts';

const sh = (script: string): string[] => ['/bin/sh', '-c', script];

/** What images, volumes and requests have tried on others: docs/security.md. Each CVE by its rule. */
describe('attacks by way of a container image or request', { skip: skipRoot }, () => {
  let root: TestRoot;
  let victim: string;
  before(() => {
    root = new TestRoot();
    victim = join(root.dir, 'victim');
  });
  beforeEach(() => {
    rmSync(victim, { recursive: true, force: true });
    mkdirSync(victim);
    writeFileSync(join(victim, 'secret'), 'secret');
  });
  after(() => root[Symbol.dispose]());

  /** Replaces something of the image for one run. */
  async function replaced<T>(path: string, put: (full: string) => void, work: () => Promise<T>): Promise<T> {
    const full = join(root.lower, path);
    const was = existsSync(full);
    rmSync(full, { recursive: true, force: true });
    mkdirSync(join(full, '..'), { recursive: true });
    put(full);
    try {
      return await work();
    } finally {
      rmSync(full, { recursive: true, force: true });
      if (was) mkdirSync(full);
    }
  }

  for (const path of ['dev', 'proc', 'sys']) {
    test(`an image whose /${path} is a link to a folder of the host is refused, and nothing is made there`, async () => {
      const result = await replaced(
        path,
        (full) => symlinkSync(victim, full),
        () => root.run('fork'),
      );
      assert.equal(result.error?.reason, 'CONTAINER_SETUP_FAILED', JSON.stringify(result));
      assert.equal(result.error?.metadata.errno, 'ELOOP');
      assert.deepEqual(readdirSync(victim), ['secret']);
    });
  }

  test('without a mount at /dev a link there is refused just the same (runc CVE-2026-41579)', async () => {
    const mounts = defaultMountsFor().filter(({ destination }) => !destination.startsWith('/dev'));
    const result = await replaced(
      'dev',
      (full) => symlinkSync(victim, full),
      () => root.run('fork', { spec: { mounts } }),
    );
    assert.equal(result.error?.metadata.errno, 'ELOOP', JSON.stringify(result));
    assert.deepEqual(readdirSync(victim), ['secret']);
  });

  for (const target of ['victim', '../../../../../../victim']) {
    test(`a volume mounted on a link to ${target} lands inside the root`, async () => {
      const link = target === 'victim' ? victim : `${'../'.repeat(12)}${victim}`;
      const result = await replaced(
        'data',
        (full) => symlinkSync(link, full),
        () =>
          root.run('fork', {
            args: sh('cat /data/passwd; ls -d /tmp/flc-*/victim; touch /data/written'),
            spec: {
              mounts: [
                ...defaultMountsFor(),
                { destination: '/data', type: 'bind', source: `${root.lower}/etc`, options: ['bind', 'ro'] },
              ],
            },
          }),
      );
      assert.match(result.stdout, /root:x:0/, JSON.stringify(result));
      assert.match(result.stderr, /Read-only/);
      assert.deepEqual(readdirSync(victim), ['secret']);
      assert.deepEqual(root.leftMounts(), []);
    });
  }

  test('a file bound onto a dangling link is made where the link leads inside the root', async () => {
    const result = await replaced(
      'etc/resolv.conf',
      (full) => symlinkSync('/run/resolve/stub.conf', full),
      () => {
        mkdirSync(join(root.lower, 'run/resolve'), { recursive: true });
        return root.run('fork', {
          args: ['/bin/cat', '/etc/resolv.conf'],
          spec: {
            mounts: [
              ...defaultMountsFor(),
              { destination: '/etc/resolv.conf', type: 'bind', source: join(victim, 'secret'), options: ['bind'] },
            ],
          },
        });
      },
    );
    assert.equal(result.stdout, 'secret', JSON.stringify(result));
    assert.ok(!existsSync('/run/resolve'));
  });

  for (const destination of ['/proc/sys', '/proc/self/attr', '/proc', '/proc/../proc/1']) {
    test(`a mount over ${destination} is refused (CVE-2019-16884)`, async () => {
      const mounts = [...defaultMountsFor(), { destination, type: 'tmpfs', source: 'tmpfs' }];
      const result = await root.run('fork', { spec: { mounts } });
      assert.equal(result.error?.reason, 'INVALID_FIELD');
      assert.equal(result.error?.metadata.field, 'mounts[7].destination');
    });
  }

  test('a volume whose path leads into /proc by a link of the image is refused', async () => {
    const mounts = [...defaultMountsFor(), { destination: '/fake', type: 'tmpfs', source: 'tmpfs' }];
    const result = await replaced(
      'fake',
      (full) => symlinkSync('/proc/sys', full),
      () => root.run('fork', { spec: { mounts } }),
    );
    assert.equal(result.error?.reason, 'ROOTFS_UNSAFE', JSON.stringify(result));
  });

  test('a working directory that is a link to a descriptor or the host leads nowhere (CVE-2024-21626)', async () => {
    for (const cwd of ['/proc/self/fd/7', '/proc/self/fd/8', '/proc/1/root/../..', '/proc/self/fd/22']) {
      const result = await root.run('fork', { args: sh('pwd; ls /bin/busybox && ls -d /work'), process: { cwd } });
      assert.ok(result.error !== undefined || !result.stdout.includes('/work'), `${cwd}: ${JSON.stringify(result)}`);
    }
  });

  test("an image's own /dev/null under a mask does not become the mask (CVE-2025-31133)", async () => {
    const mounts = defaultMountsFor().filter(({ destination }) => !destination.startsWith('/dev'));
    const result = await replaced(
      'dev',
      (full) => {
        mkdirSync(full);
        symlinkSync('/proc/sys/kernel/core_pattern', join(full, 'null'));
      },
      () => root.run('fork', { spec: { mounts } }),
    );
    assert.equal(result.error?.reason, 'ROOTFS_UNSAFE', JSON.stringify(result));
  });

  test('a device that the image has in the place of a default one is refused', async () => {
    const mounts = defaultMountsFor().filter(({ destination }) => !destination.startsWith('/dev'));
    const result = await replaced(
      'dev',
      (full) => {
        mkdirSync(full);
        writeFileSync(join(full, 'urandom'), '4');
      },
      () => root.run('fork', { spec: { mounts } }),
    );
    assert.equal(result.error?.reason, 'ROOTFS_UNSAFE', JSON.stringify(result));
  });

  test("settings that are the host's are refused, whatever way they are written (CVE-2022-0811)", async () => {
    const host = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
    for (const key of [
      'kernel.core_pattern',
      'kernel/core_pattern',
      'net.ipv4.x+kernel.core_pattern',
      'net/../kernel/core_pattern',
      'vm.swappiness',
      'net..ipv4',
    ]) {
      const result = await root.run('fork', { linux: { sysctl: { [key]: '|/bin/x' } } });
      assert.ok(result.error, `${key}: ${JSON.stringify(result)}`);
    }
    assert.equal(readFileSync('/proc/sys/kernel/core_pattern', 'utf8'), host);
    const shared = {
      namespaces: [{ type: 'mount' as const }, { type: 'pid' as const }],
      sysctl: { 'net.ipv4.ip_forward': '1' },
    };
    assert.equal((await root.run('fork', { linux: shared })).error?.reason, 'INVALID_FIELD', "with the host's network");
  });

  test('user ids out of range are refused, not wrapped or looked up (crun CVE-2026-30892)', async () => {
    for (const uid of [-1, 2 ** 32 - 1, 2 ** 32, 0.5, Number.NaN]) {
      const result = await root.run('fork', { process: { user: { uid, gid: 0 } } });
      assert.equal(result.error?.reason, 'INVALID_FIELD', String(uid));
      assert.equal(result.error?.metadata.field, 'process.user.uid');
    }
  });

  test('group paths that would leave their parents are refused', async () => {
    for (const cgroupsPath of ['relative', '/../x', '/a/../b', '/a//b', '/', '/a b']) {
      assert.equal((await root.run('fork', { linux: { cgroupsPath } })).error?.reason, 'INVALID_FIELD', cgroupsPath);
    }
  });

  test('after every failure no process, group or mount is left', async () => {
    assert.deepEqual(root.leftCgroups(), []);
    assert.deepEqual(root.leftMounts(), []);
    assert.equal(statSync(join(victim, 'secret')).size, 6);
  });
});
