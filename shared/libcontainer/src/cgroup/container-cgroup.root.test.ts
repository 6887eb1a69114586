import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { attachDeviceProgram } from '@flotilla/linux';
import { defaultDeviceRules } from '../defaults/index.ts';
import { skipRoot } from '../testing/test-root.ts';
import { ContainerCgroup } from './container-cgroup.ts';
import { readHierarchies } from './hierarchies.ts';

const parent = `/flc-cg-${process.pid}`;

describe('the groups of a container', { skip: skipRoot }, () => {
  const children: ChildProcess[] = [];
  after(() => {
    for (const child of children) child.kill('SIGKILL');
    const left = ContainerCgroup.open(parent);
    left.killAll();
    left.remove();
  });

  /** A process in the group. */
  async function inhabit(group: ContainerCgroup, below = '', command = ['sleep', '60']): Promise<ChildProcess> {
    const child = spawn(command[0]!, command.slice(1), { stdio: 'ignore' });
    await once(child, 'spawn');
    children.push(child);
    for (const { mountPoint } of readHierarchies())
      writeFileSync(`${mountPoint}${group.path}${below}/cgroup.procs`, String(child.pid));
    return child;
  }

  test('are made in every hierarchy, know their processes, and go', async () => {
    const group = ContainerCgroup.create(`${parent}/a`);
    for (const { mountPoint } of readHierarchies()) assert.ok(existsSync(mountPoint + group.path), mountPoint);
    assert.equal(group.isPopulated(), false);
    for (const { mountPoint } of readHierarchies()) mkdirSync(`${mountPoint}${group.path}/made-inside`);
    for (const { mountPoint, controllers, version } of readHierarchies()) {
      if (version === 1 && controllers.includes('cpuset')) {
        for (const file of ['cpuset.cpus', 'cpuset.mems']) {
          writeFileSync(
            `${mountPoint}${group.path}/made-inside/${file}`,
            readFileSync(`${mountPoint}${group.path}/${file}`),
          );
        }
      }
    }
    const child = await inhabit(group, '/made-inside');
    assert.equal(group.isPopulated(), true);
    assert.deepEqual(group.pids(), [child.pid]);
    group.killAll();
    await once(child, 'exit');
    group.remove();
    for (const { mountPoint } of readHierarchies()) assert.ok(!existsSync(mountPoint + group.path), mountPoint);
    group.remove(); // again is no error
  });

  test('freeze, thaw, and change their limits while they run', async () => {
    const group = ContainerCgroup.create(`${parent}/b`, {
      memory: { limit: 64 << 20, swap: 64 << 20 },
      pids: { limit: 10 },
    });
    const child = await inhabit(group, '', ['busybox', 'sh', '-c', 'while :; do usleep 1000; done']);
    const ticks = () => readFileSync(`/proc/${child.pid}/schedstat`, 'utf8');
    group.freeze();
    await sleep(10); // what it did on its way into the freezer is counted last
    const frozenAt = ticks();
    await sleep(30);
    assert.equal(ticks(), frozenAt, 'it does not run');
    assert.equal(group.isPopulated(), true);
    assert.deepEqual(group.update({ memory: { limit: 128 << 20, swap: 256 << 20 } }), []);
    assert.equal(group.stats().memory?.limitBytes, 128 << 20);
    group.update({ memory: { limit: 32 << 20, swap: 32 << 20 } });
    assert.equal(group.stats().memory?.limitBytes, 32 << 20);
    assert.ok([1, 2].includes(group.stats().pids?.current ?? 0));
    assert.equal(group.stats().pids?.limit, 10);
    group.thaw();
    await sleep(30);
    assert.notEqual(ticks(), frozenAt, 'it runs again');
    group.killAll();
    await once(child, 'exit');
    assert.equal(group.oomKillCount(), 0);
    group.remove();
  });

  test('change all of what is asked for or nothing', () => {
    const group = ContainerCgroup.create(`${parent}/g`, { pids: { limit: 10 }, cpu: { shares: 512 } });
    try {
      const before = group.stats();
      const wanted = {
        memory: { limit: 64 << 20, swap: 64 << 20 },
        cpu: { quota: 50_000, period: 100_000 },
        pids: { limit: 20 },
      };
      // Written after all others.
      const refused = { ...wanted, unified: { 'cgroup.max.depth': 'deep' } };
      assert.throws(() => group.change(refused), { reason: 'RESOURCE_LIMIT_INVALID' });
      assert.equal(group.stats().memory?.limitBytes, before.memory?.limitBytes);
      assert.equal(group.stats().pids?.limit, 10);
      assert.deepEqual(group.change(wanted), []);
      assert.equal(group.stats().memory?.limitBytes, 64 << 20);
      assert.equal(group.stats().pids?.limit, 20);
    } finally {
      group.remove();
    }
  });

  test('refuse what the kernel refuses, by the name of the field, and leave nothing', () => {
    assert.throws(() => ContainerCgroup.create(`${parent}/c`, { cpu: { cpus: '999' } }), {
      reason: 'RESOURCE_LIMIT_INVALID',
      code: 'invalid_argument',
    });
    assert.throws(() => ContainerCgroup.create(`${parent}/c`, { cpu: { quota: 1, period: 1 } }), {
      reason: 'RESOURCE_LIMIT_INVALID',
    });
    for (const { mountPoint } of readHierarchies()) assert.ok(!existsSync(`${mountPoint}${parent}/c`));
  });

  test('warn of a preference that the host cannot keep, and fail for a limit', (t) => {
    const has = (controller: string) => readHierarchies().some(({ controllers }) => controllers.includes(controller));
    if (has('net_cls')) return t.skip('this host has net_cls');
    assert.throws(() => ContainerCgroup.create(`${parent}/d`, { network: { classID: 7 } }), {
      reason: 'CGROUP_CONTROLLER_MISSING',
      metadata: { controller: 'net_cls', field: 'network.classID' },
    });
    return undefined;
  });

  test('take the controllers of the v2 tree that v1 lacks', (t) => {
    const v2 = readHierarchies().find(({ version }) => version === 2);
    if (!v2?.controllers.includes('hugetlb')) return t.skip('no hugetlb controller in a v2 tree');
    const group = ContainerCgroup.create(`${parent}/e`, {
      hugepageLimits: [{ pageSize: '2MB', limit: 4 << 20 }],
      unified: { 'cgroup.max.depth': '3' },
    });
    try {
      assert.equal(readFileSync(`${v2.mountPoint}${group.path}/hugetlb.2MB.max`, 'utf8').trim(), String(4 << 20));
      assert.equal(readFileSync(`${v2.mountPoint}${group.path}/cgroup.max.depth`, 'utf8').trim(), '3');
    } finally {
      group.remove();
    }
    return undefined;
  });

  test('limit devices by a program in the v2 tree, which can be replaced', (t) => {
    const v2 = readHierarchies().find(({ version }) => version === 2);
    if (!v2) return t.skip('no v2 tree');
    const folder = `${v2.mountPoint}${parent}/f`;
    const group = ContainerCgroup.create(`${parent}/f`);
    const tries = (device: string): boolean => {
      const script = `echo $$ > ${folder}/cgroup.procs && exec head -c 1 ${device}`;
      return spawnSyncStatus(script) === 0;
    };
    const fd = openSync(folder, 'r');
    try {
      attachDeviceProgram(fd, defaultDeviceRules.map(withoutDefaults));
      assert.equal(tries('/dev/zero'), true, 'allowed');
      assert.equal(tries('/dev/kmsg'), false, 'not listed');
      attachDeviceProgram(fd, [
        ...defaultDeviceRules.map(withoutDefaults),
        { allow: false, type: 'c', major: 1, minor: 5, access: 'r' },
      ]);
      assert.equal(tries('/dev/zero'), false, 'the last rule wins');
      assert.equal(tries('/dev/urandom'), true);
      attachDeviceProgram(fd, [{ allow: true, type: 'a', major: undefined, minor: undefined, access: 'rwm' }]);
      assert.equal(tries('/dev/zero'), true, 'the earlier programs are gone');
    } finally {
      closeSync(fd);
      group.remove();
    }
    return undefined;
  });
});

const withoutDefaults = ({ allow, type = 'a', major, minor, access = 'rwm' }: (typeof defaultDeviceRules)[number]) => ({
  allow,
  type,
  major,
  minor,
  access,
});

function spawnSyncStatus(script: string): number | null {
  return spawnSync('/bin/sh', ['-c', script], { stdio: 'ignore' }).status;
}
