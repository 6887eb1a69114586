import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupMode, parseHierarchies } from './hierarchies.ts';
import { cpuWeight, ioWeight, v1Settings, v2Settings, v2Warnings } from './settings.ts';

const files = (settings: readonly { file: string; value: string }[]) =>
  Object.fromEntries(settings.map(({ file, value }) => [file, value]));

test('limits become files of v1', () => {
  const resources = {
    memory: { limit: 100, swap: -1, reservation: 50, swappiness: 0 },
    cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: '0-1', mems: '0' },
    pids: { limit: 0 },
    blockIO: { weight: 500, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000 }] },
    hugepageLimits: [{ pageSize: '2MB', limit: 7 }],
  };
  assert.deepEqual(files(v1Settings(resources)), {
    'memory.limit_in_bytes': '100',
    'memory.memsw.limit_in_bytes': '-1',
    'memory.soft_limit_in_bytes': '50',
    'memory.swappiness': '0',
    'cpu.shares': '512',
    'cpu.cfs_period_us': '100000',
    'cpu.cfs_quota_us': '50000',
    'cpuset.cpus': '0-1',
    'cpuset.mems': '0',
    'pids.max': 'max',
    'blkio.weight': '500',
    'blkio.throttle.read_bps_device': '8:0 1000',
    'hugetlb.2MB.limit_in_bytes': '7',
  });
});

test('limits become files of v2, swap without memory, shares as weight', () => {
  const resources = {
    memory: { limit: 100, swap: 150, reservation: 50 },
    cpu: { shares: 1024, quota: 50_000 },
    pids: { limit: 9 },
    blockIO: { weight: 500, throttleWriteIOPSDevice: [{ major: 8, minor: 16, rate: 0 }] },
  };
  assert.deepEqual(files(v2Settings(resources)), {
    'memory.max': '100',
    'memory.swap.max': '50',
    'memory.low': '50',
    'cpu.weight': '100',
    'cpu.max': '50000 100000',
    'pids.max': '9',
    'io.bfq.weight': '500',
    'io.max': '8:16 wiops=max',
  });
  assert.deepEqual(files(v2Settings({ memory: { limit: -1, swap: -1 } })), {
    'memory.max': 'max',
    'memory.swap.max': 'max',
  });
  assert.equal(v2Warnings({ memory: { swappiness: 1 } }).length, 1);
});

for (const [shares, weight] of [
  [2, 1],
  [1024, 100],
  [262_144, 10_000],
  [1, 1],
  [300_000, 10_000],
] as const) {
  test(`${shares} shares are weight ${weight}`, () => assert.equal(cpuWeight(shares), weight));
}

test('block weights 10 to 1000 cover 1 to 10000', () => {
  assert.deepEqual([10, 500, 1000].map(ioWeight), [1, 4950, 10_000]);
});

const hybrid = `32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
42 31 0:38 / /mnt/again rw - cgroup2 cgroup2 rw
43 31 0:29 /docker/1 /sys/fs/cgroup/bound rw - cgroup cgroup rw,cpu,cpuacct
50 1 0:50 / / rw - overlay overlay rw`;

test('hierarchies are read from mountinfo, each once', () => {
  const found = parseHierarchies(hybrid, () => ['hugetlb']);
  assert.deepEqual(
    found.map(({ version, name, controllers, options }) => [version, name, controllers, options]),
    [
      [1, 'cpu,cpuacct', ['cpu', 'cpuacct'], ['cpu', 'cpuacct']],
      [1, 'systemd', [], ['name=systemd']],
      [2, 'unified', ['hugetlb'], []],
    ],
  );
  assert.equal(cgroupMode(found), 'hybrid');
  assert.equal(cgroupMode(found.slice(0, 2)), 'v1');
  assert.equal(cgroupMode(found.slice(2)), 'v2');
});
