import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MOUNT_ATTR_NOATIME, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_SLAVE } from '@flotilla/linux';
import { checkOverProc, cleanPath, planMount } from './mount-plan.ts';
import { planNamespaces } from './namespace-plan.ts';
import { planSysctls } from './sysctl-plan.ts';

test('mount options are sorted into attributes, propagation and data', () => {
  const plan = planMount(
    {
      destination: '/a//b/../c',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'noatime', 'ro', 'rw', 'size=1m', 'rprivate', 'slave', 'rro'],
    },
    'mounts[0]',
  );
  assert.equal(plan.destination, '/a/c');
  assert.deepEqual(plan.data, ['size=1m']);
  assert.equal(plan.attributes.set, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOATIME);
  assert.ok(plan.attributes.clear & MOUNT_ATTR_RDONLY, 'rw after ro');
  assert.equal(plan.recursiveAttributes.set, MOUNT_ATTR_RDONLY);
  assert.deepEqual(plan.propagation, [
    { flag: MS_PRIVATE, recursive: true },
    { flag: MS_SLAVE, recursive: false },
  ]);
});

for (const [what, mount] of [
  ['a bind from a relative path', { destination: '/a', type: 'bind', source: 'b' }],
  ['a file system option of a bind', { destination: '/a', source: '/b', options: ['rbind', 'size=1'] }],
  ['no type', { destination: '/a' }],
  ['a relative destination', { destination: 'a', type: 'tmpfs' }],
  ['NUL', { destination: '/a\0b', type: 'tmpfs' }],
] as const) {
  test(`a mount with ${what} is refused`, () =>
    assert.throws(() => planMount(mount, 'mounts[3]'), { reason: 'INVALID_FIELD' }));
}

test('what is not offered is said to be so', () => {
  assert.throws(() => planMount({ destination: '/a', source: '/b', options: ['rbind', 'idmap'] }, 'm'), {
    reason: 'UNSUPPORTED',
  });
  assert.throws(() => planNamespaces([{ type: 'time' }], [], []), { reason: 'UNSUPPORTED' });
});

for (const [destination, type, allowed] of [
  ['/proc', 'proc', true],
  ['/proc', 'tmpfs', false],
  ['/proc/cpuinfo', 'bind', true],
  ['/proc/cpuinfo', 'tmpfs', false],
  ['/proc/1/attr', 'bind', false],
  ['/procession', 'tmpfs', true],
] as const) {
  test(`${type} at ${destination} is ${allowed ? 'allowed' : 'refused'}`, () => {
    const plan = planMount({ destination, type, source: '/x' }, 'm');
    if (allowed) checkOverProc(plan, 'm');
    else assert.throws(() => checkOverProc(plan, 'm'), { reason: 'INVALID_FIELD' });
  });
}

test('paths are cleaned without leaving the root', () => {
  for (const [path, clean] of [
    ['/', '/'],
    ['/../../etc', '/etc'],
    ['/a/./b//c/', '/a/b/c'],
  ] as const) {
    assert.equal(cleanPath(path, 'p'), clean);
  }
});

test('namespaces are told apart: new, joined, absent, twice, unmapped', () => {
  const plan = planNamespaces([{ type: 'mount' }, { type: 'network', path: '/run/x' }], [], []);
  assert.equal(plan.create, 0x20000);
  assert.deepEqual(plan.join, [{ type: 'network', path: '/run/x', flag: 0x40000000 }]);
  assert.throws(() => planNamespaces([{ type: 'mount' }, { type: 'mount' }], [], []), { reason: 'INVALID_FIELD' });
  assert.throws(() => planNamespaces([{ type: 'user' }], [], []), { reason: 'INVALID_FIELD' });
  assert.throws(() => planNamespaces([{ type: 'user' }], [{ containerID: 0, hostID: 0, size: 0 }], []), {
    reason: 'INVALID_FIELD',
  });
});

const own = { ipc: true, network: true, uts: true };
for (const [key, path] of [
  ['net.ipv4.ip_forward', 'net/ipv4/ip_forward'],
  ['net/ipv4/conf/eth0.100/forwarding', 'net/ipv4/conf/eth0.100/forwarding'],
  ['net.ipv4.conf.eth0/100.forwarding', 'net/ipv4/conf/eth0.100/forwarding'],
  ['kernel.shmmax', 'kernel/shmmax'],
  ['fs.mqueue.msg_max', 'fs/mqueue/msg_max'],
] as const) {
  test(`sysctl ${key} is ${path}`, () => assert.deepEqual(planSysctls({ [key]: '1' }, own), [{ path, value: '1' }]));
}

for (const key of ['kernel.core_pattern', 'vm.swappiness', 'kernel.hostname', 'net', 'net.+x', '../x', 'fs.file-max']) {
  test(`sysctl ${key} is refused`, () =>
    assert.throws(() => planSysctls({ [key]: '1' }, own), { reason: 'INVALID_FIELD' }));
}

test("without a namespace of the container's own its settings are the host's", () => {
  assert.throws(() => planSysctls({ 'net.ipv4.ip_forward': '1' }, { ...own, network: false }), {
    reason: 'INVALID_FIELD',
  });
  assert.throws(() => planSysctls({ 'kernel.sem': '1' }, { ...own, ipc: false }), { reason: 'INVALID_FIELD' });
});
