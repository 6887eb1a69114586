import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allCapabilities, defaultCapabilities } from '@flotilla/libcontainer/defaults';
import type { ContainerConfig, DeepPartial } from '@flotilla/proto/flotilla/v1/container';
import type { ImageConfig } from '@flotilla/proto/flotilla/v1/image';
import { aConfig, anExecConfig, anImage, someFacts } from '../../testing/builders.ts';
import { buildSpec, type SpecInput } from './build-spec.ts';
import { buildExecProcess } from './exec-process.ts';
import {
  mergeArgs,
  mergeMounts,
  mergePorts,
  mergeStopSignal,
  mergeWorkingDir,
  stopTimeoutSeconds,
} from './merge-config.ts';

const etc = { hostname: '/s/hostname', hosts: '/s/hosts', resolvConf: '/s/resolv.conf' };

function specOf(
  changes: DeepPartial<ContainerConfig> = {},
  image: DeepPartial<ImageConfig> = {},
  more: Partial<SpecInput> = {},
) {
  const config = aConfig(changes);
  return buildSpec({
    config,
    image: anImage(image),
    user: { uid: 0, gid: 0, additionalGids: [], home: '/root' },
    hostname: 'box',
    mounts: config.mounts,
    etc,
    network: 'new',
    ipc: 'new',
    pid: 'new',
    cgroupsPath: '/flotilla/c1',
    devices: [],
    deviceRules: [],
    facts: someFacts,
    ...more,
  });
}

const words = (text: string) => text.split(' ').filter(Boolean);
for (const [entrypoint, command, imageEntrypoint, imageCmd, args] of [
  ['', '', 'ie', 'ic', 'ie ic'],
  ['', 'c', 'ie', 'ic', 'ie c'],
  ['e', '', 'ie', 'ic', 'e'],
  ['e', 'c', 'ie', 'ic', 'e c'],
  ['', 'c', '', 'ic', 'c'],
  ['', '', '', 'ic', 'ic'],
] as const) {
  test(`entrypoint "${entrypoint}", command "${command}" over "${imageEntrypoint}", "${imageCmd}" is "${args}"`, () => {
    const config = aConfig({ entrypoint: words(entrypoint), command: words(command) });
    const image = anImage({ entrypoint: words(imageEntrypoint), cmd: words(imageCmd) });
    assert.deepEqual(mergeArgs(config, image), words(args));
  });
}

test('an entrypoint of one empty string is none, and nothing at all is refused', () => {
  const image = anImage({ entrypoint: ['ie'], cmd: ['ic'] });
  assert.deepEqual(mergeArgs(aConfig({ entrypoint: [''], command: ['c'] }), image), ['c']);
  assert.throws(() => mergeArgs(aConfig({ entrypoint: [''], command: [] }), image), { reason: 'INVALID_FIELD' });
  assert.throws(() => mergeArgs(aConfig({ command: [] }), anImage()), { reason: 'INVALID_FIELD' });
});

test('the environment has defaults, the image’s, the user’s; a name alone takes away', () => {
  const { process } = specOf(
    { env: ['A=user', 'B', 'C=c=c'], tty: true },
    { env: ['PATH=/image', 'A=image', 'B=image', 'D=d'] },
  );
  assert.deepEqual(process?.env, ['PATH=/image', 'HOSTNAME=box', 'TERM=xterm', 'A=user', 'D=d', 'C=c=c', 'HOME=/root']);
  assert.equal(process?.terminal, true);
});

test('HOME and TERM that are given are kept', () => {
  const { process } = specOf({ env: ['HOME=/h', 'TERM=vt100'], tty: true });
  assert.ok(process?.env?.includes('HOME=/h') && process.env.includes('TERM=vt100') && process.env.length === 4);
});

test('working folder, stop signal and stop timeout: the user’s, the image’s, Docker’s', () => {
  assert.equal(mergeWorkingDir(aConfig({ workingDir: '/a/../b/' }), anImage({ workingDir: '/i' })), '/b');
  assert.equal(mergeWorkingDir(aConfig(), anImage({ workingDir: '/i' })), '/i');
  assert.equal(mergeWorkingDir(aConfig(), anImage()), '/');
  assert.equal(mergeStopSignal(aConfig({ stopSignal: 'INT' }), anImage({ stopSignal: 'QUIT' })), 2);
  assert.equal(mergeStopSignal(aConfig(), anImage({ stopSignal: 'SIGQUIT' })), 3);
  assert.equal(mergeStopSignal(aConfig(), anImage()), 15);
  assert.equal(stopTimeoutSeconds(undefined, aConfig()), 10);
  assert.equal(stopTimeoutSeconds(undefined, aConfig({ stopTimeoutSeconds: 3 })), 3);
  assert.equal(stopTimeoutSeconds(0, aConfig({ stopTimeoutSeconds: 3 })), 0);
  assert.equal(stopTimeoutSeconds(-1, aConfig()), undefined);
});

test('an unprivileged container has fourteen capabilities, seccomp, masks, and a read-only /sys', () => {
  const { process, linux, mounts, root } = specOf();
  assert.deepEqual(process?.capabilities?.bounding, defaultCapabilities);
  assert.deepEqual(process?.capabilities?.effective, defaultCapabilities);
  assert.deepEqual(process?.capabilities?.inheritable, []);
  assert.equal(linux?.seccomp?.defaultAction, 'SCMP_ACT_ERRNO');
  assert.ok((linux?.maskedPaths?.length ?? 0) > 5);
  assert.equal(root?.readonly, false);
  assert.ok(mounts?.find(({ destination }) => destination === '/sys')?.options?.includes('ro'));
  assert.deepEqual(linux?.resources?.devices?.[0], { allow: false, access: 'rwm' });
});

test('another user than root has capabilities to keep, not to use', () => {
  const { process } = specOf({}, {}, { user: { uid: 33, gid: 33, additionalGids: [6], home: '/var/www' } });
  assert.deepEqual(process?.user, { uid: 33, gid: 33, additionalGids: [6] });
  assert.deepEqual(process?.capabilities?.effective, []);
  assert.deepEqual(process?.capabilities?.permitted, []);
  assert.deepEqual(process?.capabilities?.bounding, defaultCapabilities);
});

test('a privileged container has all capabilities, no seccomp, no masks, a writable /sys, every device', () => {
  const fuse = { path: '/dev/fuse', type: 'c' as const, major: 10, minor: 229 };
  const { process, linux, mounts } = specOf({ privileged: true }, {}, { devices: [fuse] });
  assert.deepEqual(process?.capabilities?.effective, [...allCapabilities]);
  assert.equal(linux?.seccomp, undefined);
  assert.equal(linux?.maskedPaths, undefined);
  assert.equal(linux?.readonlyPaths, undefined);
  assert.deepEqual(linux?.resources?.devices, [{ allow: true, access: 'rwm' }]);
  assert.deepEqual(linux?.devices, [fuse]);
  assert.ok(mounts?.find(({ destination }) => destination === '/sys')?.options?.includes('rw'));
});

test('limits become the runtime’s', () => {
  const { linux } = specOf({
    resources: {
      memoryBytes: 64n << 20n,
      nanoCpus: 1_500_000_000n,
      cpuShares: 512n,
      cpusetCpus: '0-1',
      pidsLimit: 50n,
      blkioWeight: 300,
      memorySwappiness: 0,
    },
  });
  assert.deepEqual(linux?.resources?.memory, { limit: 64 << 20, swap: 128 << 20, swappiness: 0 });
  assert.deepEqual(linux?.resources?.cpu, { quota: 150_000, period: 100_000, shares: 512, cpus: '0-1' });
  assert.deepEqual(linux?.resources?.pids, { limit: 50 });
  assert.deepEqual(linux?.resources?.blockIO, { weight: 300 });
});

test('limits that the host cannot hold are left out', () => {
  const facts = { ...someFacts, swapLimit: false, controllers: new Set(['memory']) };
  const resources = { memoryBytes: 64n << 20n, pidsLimit: 5n, nanoCpus: 1_000_000_000n };
  const { linux } = specOf({ resources }, {}, { facts });
  assert.deepEqual(linux?.resources?.memory, { limit: 64 << 20 });
  assert.equal(linux?.resources?.pids, undefined);
  assert.equal(linux?.resources?.cpu, undefined);
});

test('namespaces are new, joined or the host’s', () => {
  const plain = specOf().linux?.namespaces;
  assert.deepEqual(plain?.map(({ type }) => type).sort(), ['cgroup', 'ipc', 'mount', 'network', 'pid', 'uts']);
  assert.ok(plain.every(({ path }) => path === undefined));
  const mixed = specOf(
    { utsMode: 'host', cgroupnsMode: 'host' },
    {},
    { network: { path: '/n' }, ipc: 'host', pid: 'host' },
  );
  assert.deepEqual(mixed.linux?.namespaces, [{ type: 'mount' }, { type: 'network', path: '/n' }]);
  assert.equal(mixed.hostname, undefined);
});

test('shared memory goes with the IPC namespace: its own, the host’s, or another container’s', () => {
  const shm = (...args: Parameters<typeof specOf>) =>
    specOf(...args)
      .mounts?.filter(({ destination }) => destination === '/dev/shm')
      .map(({ type, source }) => `${type} ${source}`);
  const joined = { ipc: { path: '/proc/77/ns/ipc' } };
  assert.deepEqual(shm(), ['tmpfs shm']);
  assert.deepEqual(shm({ ipcMode: 'host' }, {}, { ipc: 'host' }), ['bind /dev/shm']);
  assert.deepEqual(shm({ ipcMode: 'container:other' }, {}, joined), ['bind /proc/77/root/dev/shm']);
  // Other runtimes cannot.
  assert.deepEqual(shm({ ipcMode: 'container:other', runtime: 'runc' }, {}, joined), ['tmpfs shm']);
});

test('mounts: the usual, the engine’s files, the user’s from the outermost inwards; a user’s wins', () => {
  const { mounts } = specOf({
    mounts: [
      { type: 'MOUNT_TYPE_TMPFS', target: '/data/inner', tmpfsSizeBytes: 4096n, tmpfsOptions: ['exec'] },
      { type: 'MOUNT_TYPE_BIND', source: '/host', target: '/data', readOnly: true, propagation: 'rslave' },
      { type: 'MOUNT_TYPE_BIND', source: '/my/hosts', target: '/etc/hosts' },
      { type: 'MOUNT_TYPE_TMPFS', target: '/dev/shm' },
    ],
  });
  const all = mounts ?? [];
  assert.deepEqual(
    all.filter(({ destination }) => destination === '/etc/hosts').map(({ source }) => source),
    ['/my/hosts'],
  );
  assert.equal(all.filter(({ destination }) => destination === '/dev/shm').length, 1);
  const own = all.slice(-4).map(({ destination }) => destination);
  assert.deepEqual(own, ['/data', '/data/inner', '/etc/hosts', '/dev/shm']);
  assert.deepEqual(all.find(({ destination }) => destination === '/data')?.options, ['rbind', 'ro', 'rro', 'rslave']);
  assert.deepEqual(all.find(({ destination }) => destination === '/data/inner')?.options, [
    'rw',
    'nosuid',
    'nodev',
    'size=4096',
  ]);
});

test('an image’s volume is an anonymous one unless the user has something there', () => {
  const config = aConfig({ mounts: [{ type: 'MOUNT_TYPE_BIND', source: '/h', target: '/a/' }] });
  const merged = mergeMounts(config, anImage({ volumes: ['/a', '/b/', '/b'] }));
  assert.deepEqual(
    merged.map(({ type, target, source }) => [type, target, source]),
    [
      ['MOUNT_TYPE_BIND', '/a', '/h'],
      ['MOUNT_TYPE_VOLUME', '/b', ''],
    ],
  );
});

test('publishing all exposes each port once', () => {
  const config = aConfig({
    publishAllPorts: true,
    exposedPorts: ['80', '53/udp'],
    ports: [{ containerPort: 80, hostPort: 8080 }],
  });
  assert.deepEqual(
    mergePorts(config, anImage({ exposedPorts: ['80/tcp', '90-91/tcp'] })).map(
      ({ containerPort, hostPort, protocol }) => [containerPort, hostPort, protocol],
    ),
    [
      [80, 8080, ''],
      [90, 0, 'tcp'],
      [91, 0, 'tcp'],
      [53, 0, 'udp'],
    ],
  );
});

test('an init runs first and is mounted', () => {
  const { process, mounts } = specOf({ init: true });
  assert.deepEqual(process?.args, ['/dev/init', '--', 'true']);
  assert.deepEqual(mounts?.at(-1), {
    destination: '/dev/init',
    type: 'bind',
    source: '/usr/bin/tini-static',
    options: ['rbind', 'ro', 'rprivate'],
  });
});

test('a seccomp profile of the user holds, by capability and kernel', () => {
  const rule = (name: string, more: object) => ({ names: [name], action: 'SCMP_ACT_ALLOW', ...more });
  const profile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }],
    syscalls: [
      rule('read', {}),
      rule('mount', { includes: { caps: ['CAP_SYS_ADMIN'] } }),
      rule('clone', { excludes: { caps: ['CAP_CHOWN'] } }),
      rule('new', { includes: { minKernel: '6.0' } }),
      rule('newer', { includes: { minKernel: '6.2' } }),
      rule('arm', { includes: { arches: ['arm64'] } }),
    ],
  };
  const { linux } = specOf({ securityOptions: [`seccomp=${JSON.stringify(profile)}`] });
  assert.deepEqual(
    linux?.seccomp?.syscalls?.map(({ names }) => names[0]),
    ['read', 'new'],
  );
  assert.deepEqual(linux?.seccomp?.architectures, ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']);
});

test('an exec has what the container has, with what it asks for over it', () => {
  const spec = specOf({ env: ['A=1'], workingDir: '/w' });
  const base = anExecConfig({ command: ['id'] });
  const plain = buildExecProcess(base, spec, undefined);
  assert.deepEqual(plain.args, ['id']);
  assert.equal(plain.cwd, '/w');
  assert.ok(plain.env?.includes('A=1'));
  assert.deepEqual(plain.capabilities, spec.process?.capabilities);
  const other = buildExecProcess(
    { ...base, env: ['A=2'], privileged: true, tty: true, size: { rows: 24, columns: 80 } },
    spec,
    { uid: 33, gid: 33, additionalGids: [], home: '/var/www' },
  );
  assert.ok(other.env?.includes('A=2') && other.env.includes('HOME=/var/www') && other.env.includes('TERM=xterm'));
  assert.deepEqual(other.capabilities?.bounding, [...allCapabilities]);
  assert.deepEqual(other.capabilities?.effective, []);
  assert.deepEqual(other.consoleSize, { height: 24, width: 80 });
});
