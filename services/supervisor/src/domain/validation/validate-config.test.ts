import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import type { ContainerConfig, DeepPartial } from '@flotilla/proto/flotilla/v1/container';
import { aConfig, someFacts } from '../../testing/builders.ts';
import { validateConfig } from './validate-config.ts';

type Changes = DeepPartial<ContainerConfig>;

const mount = (changes: object): Changes => ({
  mounts: [{ type: 'MOUNT_TYPE_BIND', source: '/srv', target: '/data', ...changes }],
});
const port = (changes: object): Changes => ({ ports: [{ containerPort: 80, ...changes }] });
const limits = (resources: DeepPartial<ContainerConfig['resources']>): Changes => ({ resources });
const profile = (value: object): Changes => ({ securityOptions: [`seccomp=${JSON.stringify(value)}`] });
const goodProfile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } }],
};

const accepted: Readonly<Record<string, Changes>> = {
  'nothing but an image and a command': {},
  'six MiB of memory': limits({ memoryBytes: 6n << 20n }),
  'unlimited swap': limits({ memoryBytes: 8n << 20n, memorySwapBytes: -1n }),
  'one and a half processors': limits({ nanoCpus: 1_500_000_000n }),
  'a quota without end': limits({ cpuQuota: -1n, cpuPeriod: 100_000n }),
  'processors that are there': limits({ cpusetCpus: '0-1,3', cpusetMems: '0' }),
  'processes without limit': limits({ pidsLimit: -1n }),
  'capabilities by both names': {
    capabilitiesAdd: ['net_admin', 'CAP_SYS_PTRACE', 'ALL'],
    capabilitiesDrop: ['chown'],
  },
  'a real-time stop signal': { stopSignal: 'SIGRTMIN+3' },
  'a bind mount that is shared': mount({ propagation: 'rshared', createSource: true }),
  'an anonymous volume': mount({ type: 'MOUNT_TYPE_VOLUME', source: '', noCopy: true }),
  'a tmpfs with options': mount({
    type: 'MOUNT_TYPE_TMPFS',
    source: '',
    tmpfsOptions: ['exec', 'size=64m', 'mode=1770', 'uid=33'],
  }),
  'a port on IPv6': port({ hostIp: '::1', hostPort: 8080, protocol: 'udp' }),
  'exposed ports': { exposedPorts: ['80', '53/udp', '8000-8010/tcp'] },
  'json-file with its options': { log: { driver: 'json-file', options: { 'max-size': '10k', 'max-file': '2' } } },
  'log driver none': { log: { driver: 'none' } },
  'log driver local that never waits': {
    log: { driver: 'local', options: { 'max-size': '-1', mode: 'non-blocking', 'max-buffer-size': '4m' } },
  },
  'log driver journald': {
    log: { driver: 'journald', options: { labels: 'a, b', env: 'C', tag: '{{.Name}}/{{ .ID }}' } },
  },
  'log driver syslog': {
    log: {
      driver: 'syslog',
      options: {
        'syslog-address': 'unixgram:///dev/log',
        'syslog-facility': 'local7',
        'syslog-format': 'rfc5424micro',
      },
    },
  },
  'a namespaced parameter': {
    sysctls: { 'net.ipv4.ip_forward': '1', 'kernel.shmmax': '1024', 'fs.mqueue.msg_max': '5' },
  },
  'security options': {
    securityOptions: ['no-new-privileges', 'apparmor=unconfined', 'label=disable', 'seccomp=unconfined'],
  },
  'a seccomp profile': profile(goodProfile),
  'limits of a process': {
    ulimits: [
      { name: 'nofile', soft: 10n, hard: 20n },
      { name: 'core', soft: -1n, hard: -1n },
    ],
  },
  'a policy that is kept': { restartPolicy: { name: 'on-failure', maximumRetries: 3 } },
  'a runtime that is installed': { runtime: 'runc' },
  'an init': { init: true },
  'numbers as user': { user: '4294967294:0' },
  'an extra host on IPv6': { extraHosts: ['a.example:::1', 'gw:host-gateway'] },
  'the network of another': { networkMode: 'container:abc' },
  'a name server': { dns: ['9.9.9.9', '2620:fe::fe'], dnsSearch: ['example.org', '.'], dnsOptions: ['ndots:2'] },
  'a device': { devices: [{ hostPath: '/dev/fuse', permissions: 'rw' }] },
  'a health check': { healthcheck: { test: ['CMD-SHELL', 'true'], intervalNanos: 1_000_000_000n } },
};

for (const [name, changes] of Object.entries(accepted)) {
  test(`accepted: ${name}`, () => assert.deepEqual(validateConfig(aConfig(changes), someFacts), []));
}

const refused: readonly (readonly [field: string, changes: Changes])[] = [
  ['image', { image: '' }],
  ['command[0]', { command: ['a\0b'] }],
  ['env[0]', { env: ['=x'] }],
  ['env[1]', { env: ['A=1', ''] }],
  ['user', { user: '4294967295' }],
  ['user', { user: '-1' }],
  ['group_add[0]', { groupAdd: ['a:b'] }],
  ['working_dir', { workingDir: 'relative' }],
  ['hostname', { hostname: '-x' }],
  ['hostname', { hostname: 'a'.repeat(65) }],
  ['hostname', { hostname: 'a\nb' }],
  ['hostname', { hostname: 'x', utsMode: 'host' }],
  ['domainname', { domainname: 'a b' }],
  ['labels[0]', { labels: { '': 'x' } }],
  ['stop_signal', { stopSignal: 'SIGNOPE' }],
  ['resources.memory_bytes', limits({ memoryBytes: (6n << 20n) - 1n })],
  ['resources.memory_bytes', limits({ memoryBytes: -1n })],
  ['resources.memory_swap_bytes', limits({ memorySwapBytes: 8n << 20n })],
  ['resources.memory_swap_bytes', limits({ memoryBytes: 9n << 20n, memorySwapBytes: 8n << 20n })],
  ['resources.memory_reservation_bytes', limits({ memoryBytes: 8n << 20n, memoryReservationBytes: 9n << 20n })],
  ['resources.memory_swappiness', limits({ memorySwappiness: 101 })],
  ['resources.nano_cpus', limits({ nanoCpus: 4_100_000_000n })],
  ['resources.nano_cpus', limits({ nanoCpus: 1n })],
  ['resources.nano_cpus', limits({ nanoCpus: 1_000_000_000n, cpuQuota: 5_000n })],
  ['resources.cpu_period', limits({ cpuPeriod: 999n })],
  ['resources.cpu_quota', limits({ cpuQuota: 10n })],
  ['resources.cpu_shares', limits({ cpuShares: 1n })],
  ['resources.cpuset_cpus', limits({ cpusetCpus: '4' })],
  ['resources.cpuset_cpus', limits({ cpusetCpus: '1-0' })],
  ['resources.cpuset_cpus', limits({ cpusetCpus: '0-99999999' })],
  ['resources.cpuset_mems', limits({ cpusetMems: '1' })],
  ['resources.pids_limit', limits({ pidsLimit: -2n })],
  ['resources.blkio_weight', limits({ blkioWeight: 9 })],
  ['capabilities_add[0]', { capabilitiesAdd: ['NET_ADMIN2'] }],
  ['capabilities_drop[1]', { capabilitiesDrop: ['CHOWN', 'nope'] }],
  ['mounts[0].type', mount({ type: 'MOUNT_TYPE_UNSPECIFIED' })],
  ['mounts[0].source', mount({ source: 'relative' })],
  ['mounts[0].source', mount({ type: 'MOUNT_TYPE_VOLUME', source: '../x' })],
  ['mounts[0].source', mount({ type: 'MOUNT_TYPE_TMPFS', source: '/x' })],
  ['mounts[0].target', mount({ target: 'data' })],
  ['mounts[0].target', mount({ target: '/a/..' })],
  ['mounts[0].target', mount({ target: '/proc/../proc/sys' })],
  ['mounts[0].propagation', mount({ propagation: 'slaved' })],
  ['mounts[0].propagation', mount({ type: 'MOUNT_TYPE_VOLUME', source: 'v', propagation: 'shared' })],
  ['mounts[0].tmpfs_options[0]', mount({ type: 'MOUNT_TYPE_TMPFS', source: '', tmpfsOptions: ['context=x'] })],
  ['mounts[0].tmpfs_options[0]', mount({ type: 'MOUNT_TYPE_TMPFS', source: '', tmpfsOptions: ['size=1,exec'] })],
  ['mounts[0].tmpfs_options', mount({ tmpfsOptions: ['exec'] })],
  ['mounts[0].non_recursive', mount({ type: 'MOUNT_TYPE_VOLUME', source: 'v', nonRecursive: true })],
  ['mounts[0].read_only_non_recursive', mount({ readOnlyNonRecursive: true })],
  ['mounts[0].read_only_force_recursive', mount({ readOnly: true, readOnlyForceRecursive: true })],
  ['mounts[0].read_only_force_recursive', mount({ propagation: 'rprivate', readOnlyForceRecursive: true })],
  ['mounts[0].volume_driver', mount({ type: 'MOUNT_TYPE_VOLUME', source: 'v', volumeDriver: 'nfs' })],
  ['mounts[0].volume_options', mount({ volumeOptions: { type: 'tmpfs' } })],
  ['mounts[0].volume_labels', mount({ volumeLabels: { a: 'b' } })],
  ['mounts[0].volume_subpath', mount({ volumeSubpath: 'a' })],
  ['mounts[0].volume_subpath', mount({ type: 'MOUNT_TYPE_VOLUME', source: 'v', volumeSubpath: '/a' })],
  ['mounts[0].volume_subpath', mount({ type: 'MOUNT_TYPE_VOLUME', source: 'v', volumeSubpath: 'a/../../b' })],
  ['volumes_from[0]', { volumesFrom: [':ro'] }],
  ['mounts[1].target', { mounts: [...mount({}).mounts!, ...mount({ target: '/data/' }).mounts!] }],
  ['ports[0].container_port', port({ containerPort: 0 })],
  ['ports[0].container_port', port({ containerPort: 65_536 })],
  ['ports[0].host_port', port({ hostPort: 70_000 })],
  ['ports[0].host_ip', port({ hostIp: 'localhost' })],
  ['ports[0].protocol', port({ protocol: 'sctp' })],
  ['ports', { ...port({}), networkMode: 'container:abc' }],
  ['hostname', { hostname: 'x', networkMode: 'container:abc' }],
  ['network_mode', { networkMode: 'container:' }],
  ['network_mode', { networkMode: '../x' }],
  ['ipv4_address', { ipv4Address: '10.0.0' }],
  ['ipv4_address', { ipv4Address: '10.0.0.2', networkMode: 'host' }],
  ['mac_address', { macAddress: '01:00:00:00:00:01' }],
  ['network_aliases', { networkAliases: ['a'], networkMode: 'none' }],
  ['exposed_ports[0]', { exposedPorts: ['80-79'] }],
  ['dns[0]', { dns: ['localhost'] }],
  ['dns_search[0]', { dnsSearch: ['a b'] }],
  ['dns_options[0]', { dnsOptions: ['x\noptions y'] }],
  ['extra_hosts[0]', { extraHosts: ['a:b'] }],
  ['extra_hosts[0]', { extraHosts: ['127.0.0.1'] }],
  ['log.driver', { log: { driver: 'fluentd' } }],
  ['log.options', { log: { options: { 'syslog-format': 'rfc3164' } } }],
  ['log.options', { log: { driver: 'local', options: { tag: 'x' } } }],
  ['log.options[compress]', { log: { options: { compress: 'true' } } }],
  ['log.options[mode]', { log: { options: { mode: 'fast' } } }],
  ['log.options[max-buffer-size]', { log: { options: { 'max-buffer-size': '1m' } } }],
  ['log.options[max-buffer-size]', { log: { options: { mode: 'non-blocking', 'max-buffer-size': '1k' } } }],
  ['log.options[tag]', { log: { options: { tag: '{{.Labels}}' } } }],
  ['log.options[tag]', { log: { driver: 'journald', options: { tag: 'a\nb' } } }],
  ['log.options[labels]', { log: { options: { labels: 'a,,b' } } }],
  ['log.options[labels-regex]', { log: { options: { 'labels-regex': '(' } } }],
  ['log.options[labels-regex]', { log: { options: { 'labels-regex': '(a)\\1' } } }],
  ['log.options[env-regex]', { log: { driver: 'journald', options: { 'env-regex': 'x'.repeat(257) } } }],
  ['log.options[syslog-address]', { log: { driver: 'syslog', options: { 'syslog-address': 'udp://10.0.0.1:514' } } }],
  ['log.options[syslog-facility]', { log: { driver: 'syslog', options: { 'syslog-facility': 'local8' } } }],
  ['log.options[syslog-format]', { log: { driver: 'syslog', options: { 'syslog-format': 'json' } } }],
  ['log.options[max-size]', { log: { options: { 'max-size': '10x' } } }],
  ['log.options[max-file]', { log: { options: { 'max-file': '0' } } }],
  ['sysctls[kernel.core_pattern]', { sysctls: { 'kernel.core_pattern': '|/bin/sh' } }],
  ['sysctls[net/ipv4/ip_forward]', { sysctls: { 'net/ipv4/ip_forward': '1' } }],
  ['sysctls[net.ipv4.x+kernel.y]', { sysctls: { 'net.ipv4.x+kernel.y': '1' } }],
  ['sysctls[net.ipv4.ip_forward]', { sysctls: { 'net.ipv4.ip_forward': '1' }, networkMode: 'host' }],
  ['sysctls[kernel.sem]', { sysctls: { 'kernel.sem': '1' }, ipcMode: 'host' }],
  ['security_options[0]', { securityOptions: ['no-new-privileges=maybe'] }],
  ['security_options[0]', { securityOptions: ['seccomp=/etc/profile.json'] }],
  ['security_options[0]', { securityOptions: ['apparmor=docker-default'] }],
  ['security_options[0] defaultAction', { securityOptions: ['seccomp={}', 'x'] }],
  [
    'security_options[0] syscalls[0].action',
    profile({ ...goodProfile, syscalls: [{ names: ['read'], action: 'ALLOW' }] }),
  ],
  ['ulimits[0].name', { ulimits: [{ name: 'files', soft: 1n, hard: 1n }] }],
  ['ulimits[0].soft', { ulimits: [{ name: 'nofile', soft: 2n, hard: 1n }] }],
  ['ulimits[1].name', { ulimits: [{ name: 'core' }, { name: 'core' }] }],
  ['devices[0].host_path', { devices: [{ hostPath: 'fuse' }] }],
  ['devices[0].permissions', { devices: [{ hostPath: '/dev/fuse', permissions: 'rr' }] }],
  ['restart_policy.name', { restartPolicy: { name: 'sometimes' } }],
  ['restart_policy.maximum_retries', { restartPolicy: { name: 'always', maximumRetries: 1 } }],
  ['auto_remove', { restartPolicy: { name: 'always' }, autoRemove: true }],
  ['ipc_mode', { ipcMode: 'none' }],
  ['pid_mode', { pidMode: 'shared' }],
  ['uts_mode', { utsMode: 'container:abc' }],
  ['cgroupns_mode', { cgroupnsMode: 'shared' }],
  ['userns_mode', { usernsMode: 'remap' }],
  ['runtime', { runtime: 'crun' }],
  ['oom_score_adj', { oomScoreAdj: 1001 }],
  ['shm_size_bytes', { shmSizeBytes: -1n }],
  ['healthcheck.test', { healthcheck: { test: ['CMD'] } }],
  ['healthcheck.test[2]', { healthcheck: { test: ['CMD', 'probe', 'a\0b'] } }],
  ['healthcheck.test[1]', { healthcheck: { test: ['CMD-SHELL', 'x'.repeat(131_072)] } }],
  ['healthcheck.interval_nanos', { healthcheck: { test: ['NONE'], intervalNanos: 5n } }],
];

for (const [field, changes] of refused) {
  test(`refused, naming ${field}: ${describe(changes)}`, () => {
    assert.throws(
      () => validateConfig(aConfig(changes), someFacts),
      (error) => {
        assert.ok(error instanceof FlotillaError);
        assert.equal(error.reason, 'INVALID_FIELD');
        assert.ok(error.metadata.field?.startsWith(field), `${error.metadata.field}: ${error.message}`);
        return true;
      },
    );
  });
}

function describe(changes: Changes): string {
  const text = JSON.stringify(changes, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  return text.slice(0, 80);
}

test('an init that is not installed is refused, naming its package', () => {
  assert.throws(() => validateConfig(aConfig({ init: true }), { ...someFacts, initPath: undefined }), /package tini/);
});

test('what the host cannot hold is a warning in Docker’s words', () => {
  const facts = { ...someFacts, controllers: new Set<string>(), cgroupMode: 'v2' as const };
  const resources = { memoryBytes: 8n << 20n, pidsLimit: 5n, nanoCpus: 1_000_000_000n, oomKillDisable: true };
  const warnings = validateConfig(aConfig({ resources }), facts);
  assert.equal(warnings.length, 4);
  assert.match(warnings[0]!, /^Your kernel does not support memory limit capabilities/);
  assert.match(warnings[3]!, /OomKillDisable discarded/);
});

test('ports that the network mode has no use for are a warning', () => {
  assert.deepEqual(validateConfig(aConfig({ ...port({}), networkMode: 'host' }), someFacts), [
    'Published ports are discarded when using host network mode',
  ]);
});
