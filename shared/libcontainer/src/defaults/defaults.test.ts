import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  applyCapabilityChanges,
  defaultCapabilities,
  defaultMountsFor,
  defaultSeccompProfile,
  parseCapability,
  toCapabilitySets,
} from './index.ts';

for (const [name, parsed] of [
  ['NET_ADMIN', 'CAP_NET_ADMIN'],
  ['cap_net_admin', 'CAP_NET_ADMIN'],
  ['all', 'ALL'],
] as const) {
  test(`${name} is ${parsed}`, () => assert.equal(parseCapability(name, 'cap_add'), parsed));
}

test('an unknown capability is an invalid field', () => {
  for (const name of ['', 'CAP_', 'NET_ADMIN ', 'FLY', 'toString']) {
    assert.throws(() => parseCapability(name, 'cap_add'), { reason: 'INVALID_FIELD' });
  }
});

test('capabilities are added and dropped as Docker does', () => {
  assert.deepEqual(applyCapabilityChanges({}), [...defaultCapabilities]);
  assert.deepEqual(applyCapabilityChanges({ drop: ['ALL'], add: ['chown'] }), ['CAP_CHOWN']);
  assert.equal(applyCapabilityChanges({ add: ['ALL'] }).length, 41);
  assert.ok(!applyCapabilityChanges({ add: ['ALL'], drop: ['SYS_ADMIN'] }).includes('CAP_SYS_ADMIN'));
  assert.ok(!applyCapabilityChanges({ drop: ['NET_RAW'] }).includes('CAP_NET_RAW'));
  assert.equal(applyCapabilityChanges({ privileged: true }).length, 41);
  assert.equal(new Set(applyCapabilityChanges({ add: ['CHOWN', 'SYS_TIME', 'SYS_TIME'] })).size, 15);
});

test('nothing is inheritable or ambient', () => {
  const sets = toCapabilitySets(['CAP_CHOWN']);
  assert.deepEqual([sets.inheritable, sets.ambient, sets.bounding], [[], [], ['CAP_CHOWN']]);
});

const allowedNames = (capabilities: readonly string[]) =>
  new Set(
    defaultSeccompProfile(capabilities, 'x64')
      .syscalls?.filter(({ action, args }) => action === 'SCMP_ACT_ALLOW' && !args)
      .flatMap(({ names }) => names),
  );

test('the seccomp profile follows the capabilities', () => {
  const plain = allowedNames([]);
  for (const name of [
    'mount',
    'unshare',
    'setns',
    'bpf',
    'keyctl',
    'add_key',
    'kexec_load',
    'userfaultfd',
    'io_uring_setup',
    'chroot',
    'reboot',
    'clone',
    'clone3',
    'socket',
  ]) {
    assert.ok(!plain.has(name), name);
  }
  for (const name of ['read', 'openat2', 'execve', 'ptrace', 'futex_waitv', 'statmount'])
    assert.ok(plain.has(name), name);
  const admin = allowedNames(['CAP_SYS_ADMIN']);
  for (const name of ['mount', 'unshare', 'clone', 'clone3', 'bpf']) assert.ok(admin.has(name), name);
  assert.ok(!admin.has('keyctl'));
  assert.ok(allowedNames(['CAP_SYS_CHROOT']).has('chroot'));
});

test('sockets of families that namespaces do not confine are not allowed', () => {
  const families = defaultSeccompProfile([], 'x64')
    .syscalls?.filter(({ names }) => names[0] === 'socket')
    .flatMap(({ args }) => args ?? []);
  const allows = (family: number) =>
    families?.some(({ op, value }) => (op === 'SCMP_CMP_LT' ? family < value : family === value));
  for (const family of [1, 2, 10, 16, 17]) assert.ok(allows(family), String(family));
  for (const family of [38, 40]) assert.ok(!allows(family), String(family));
});

test('mounts that the caller has itself are left out', () => {
  assert.ok(!defaultMountsFor({ without: ['/dev/shm'] }).some(({ destination }) => destination === '/dev/shm'));
  assert.ok(
    defaultMountsFor({ privileged: true })
      .find(({ destination }) => destination === '/sys')
      ?.options?.includes('rw'),
  );
});
