import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Hierarchy } from './hierarchies.ts';
import { readStats } from './stats.ts';

/** Files as the kernel writes them, below one folder for each hierarchy. */
function withFiles(files: Readonly<Record<string, string>>, work: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'fl-stats-'));
  try {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(folder, path, '..'), { recursive: true });
      writeFileSync(join(folder, path), content);
    }
    work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const v1 = (mountPoint: string, ...controllers: string[]): Hierarchy => ({
  version: 1,
  name: controllers.join(','),
  mountPoint,
  controllers,
  options: controllers,
});

const v2Files = {
  'u/c/memory.current': '10485760\n',
  'u/c/memory.max': 'max\n',
  'u/c/memory.peak': '20971520\n',
  'u/c/memory.stat': 'anon 4096\ninactive_file 1048576\n',
  'u/c/cpu.stat':
    'usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 70\n',
  'u/c/pids.current': '3\n',
  'u/c/pids.max': '100\n',
  'u/c/io.stat': '8:0 rbytes=4096 wbytes=512 rios=1 wios=2 dbytes=0 dios=0\n8:16 \n',
};

const v1Files = {
  'memory/c/memory.usage_in_bytes': '10485760\n',
  'memory/c/memory.limit_in_bytes': '9223372036854771712\n',
  'memory/c/memory.max_usage_in_bytes': '11\n',
  'memory/c/memory.failcnt': '7\n',
  'memory/c/memory.stat': 'inactive_file 1\ntotal_inactive_file 485760\n',
  'cpu/c/cpuacct.usage': '123456789\n',
  'cpu/c/cpuacct.usage_percpu': '100 200 \n',
  'cpu/c/cpuacct.stat': 'user 5\nsystem 7\n',
  'cpu/c/cpu.stat': 'nr_periods 2\nnr_throttled 1\nthrottled_time 99\n',
  'blkio/c/blkio.throttle.io_service_bytes_recursive': '8:0 Read 4096\n8:0 Total 4096\nTotal 4096\n',
  'blkio/c/blkio.throttle.io_serviced_recursive': '8:0 Read 1\n8:0 Total 1\nTotal 1\n',
};

test('version 2: use, and page cache that can be given back left out', () => {
  withFiles(v2Files, (folder) => {
    const unified: Hierarchy = { version: 2, name: 'u', mountPoint: join(folder, 'u'), controllers: [], options: [] };
    const { memory, cpu, pids, blockDevices } = readStats([unified], '/c');
    assert.equal(memory?.usageBytes, 10 << 20);
    assert.equal(memory?.workingBytes, 9 << 20);
    assert.equal(memory?.limitBytes, undefined);
    assert.equal(memory?.maxUsageBytes, 20 << 20);
    assert.equal(memory?.stats.get('anon'), 4096);
    const throttling = { periods: 9, throttledPeriods: 4, throttledNanos: 70_000 };
    const times = { usageNanos: 5_000_000, userNanos: 3_000_000, kernelNanos: 2_000_000, perCpuNanos: [] };
    assert.deepEqual(cpu, { ...times, ...throttling });
    assert.deepEqual(pids, { current: 3, limit: 100 });
    assert.deepEqual(
      blockDevices.map(({ major, minor }) => [major, minor]),
      [
        [8, 0],
        [8, 16],
      ],
    );
    assert.equal(blockDevices[0]?.bytes.get('write'), 512);
    assert.equal(blockDevices[0]?.operations.get('write'), 2);
  });
});

test('version 1: each controller from its own tree, and no limit for one that is too high', () => {
  withFiles(v1Files, (folder) => {
    const trees = [v1(join(folder, 'memory'), 'memory'), v1(join(folder, 'cpu'), 'cpu', 'cpuacct')];
    const { memory, cpu, pids, blockDevices } = readStats([...trees, v1(join(folder, 'blkio'), 'blkio')], '/c');
    assert.equal(memory?.workingBytes, 10_000_000);
    assert.equal(memory?.limitBytes, undefined);
    assert.equal(memory?.failCount, 7);
    const throttling = { periods: 2, throttledPeriods: 1, throttledNanos: 99 };
    const times = { usageNanos: 123_456_789, userNanos: 50_000_000, kernelNanos: 70_000_000, perCpuNanos: [100, 200] };
    assert.deepEqual(cpu, { ...times, ...throttling });
    assert.equal(pids, undefined);
    assert.equal(blockDevices.length, 1);
    assert.equal(blockDevices[0]?.bytes.get('read'), 4096);
    assert.equal(blockDevices[0]?.operations.get('total'), 1);
  });
});

test('a group that is gone has nothing to tell', () => {
  withFiles({}, (folder) => {
    const trees = [v1(join(folder, 'memory'), 'memory'), v1(join(folder, 'cpu'), 'cpu', 'cpuacct')];
    const stats = readStats(trees, '/c');
    assert.deepEqual(stats, { memory: undefined, cpu: undefined, pids: undefined, blockDevices: [] });
  });
});
