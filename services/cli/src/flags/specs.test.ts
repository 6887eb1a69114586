import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ImageHealthcheck } from '@flotilla/proto/flotilla/v1/image';
import { parseChanges } from './changes.ts';
import { parseDevice } from './devices.ts';
import { parseEnv, parseEnvFile, parsePairs } from './environment.ts';
import { parseUlimit } from './limits.ts';
import { parseMount } from './mount.ts';
import { parseNetwork } from './network-flag.ts';
import { parseHealthcheck, parseRestartPolicy } from './policies.ts';
import { parseExpose, parsePublish } from './ports.ts';
import { parseTmpfs, parseVolume } from './volumes.ts';

const port = (hostIp: string, hostPort: number, containerPort: number, protocol = 'tcp') => ({
  hostIp,
  hostPort,
  containerPort,
  protocol,
});
const ports: readonly (readonly [text: string, parsed: readonly object[]])[] = [
  ['80', [port('', 0, 80)]],
  ['8080:80', [port('', 8080, 80)]],
  ['53:53/udp', [port('', 53, 53, 'udp')]],
  ['127.0.0.1:8080:80', [port('127.0.0.1', 8080, 80)]],
  ['127.0.0.1::80', [port('127.0.0.1', 0, 80)]],
  ['[::1]:8080:80/tcp', [port('::1', 8080, 80)]],
  ['[::]::80', [port('::', 0, 80)]],
  ['8000-8001:80-81', [port('', 8000, 80), port('', 8001, 81)]],
  ['80-81/udp', [port('', 0, 80, 'udp'), port('', 0, 81, 'udp')]],
  ['target=80,published=8080,protocol=udp', [port('', 8080, 80, 'udp')]],
  ['target=80', [port('', 0, 80)]],
];
for (const [text, parsed] of ports) {
  test(`-p ${text}`, () => assert.deepEqual(parsePublish(text), parsed));
}
for (const text of [
  '',
  '0',
  'x',
  '80:',
  '65536',
  '8080:65536',
  '80/sctp',
  '1.2.3:80:80',
  'host:80:80',
  '1:2:3:4',
  '8000-8002:80-81',
  '82-80',
  '[::1]:80',
  'published=80',
  'target=80,colour=red',
]) {
  test(`-p ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parsePublish(text), { reason: 'INVALID_FIELD', message: /^--publish/ });
  });
}
test('--expose reads ranges and protocols', () => {
  assert.deepEqual(parseExpose('--expose', '80-82/udp'), ['80/udp', '81/udp', '82/udp']);
  assert.deepEqual(parseExpose('--expose', '80'), ['80/tcp']);
  for (const text of ['', '80/', '80/x', '80/tcp/udp', '70000']) {
    assert.throws(() => parseExpose('--expose', text), { reason: 'INVALID_FIELD' }, text);
  }
});

const host = { cwd: '/work', selinux: false };
const volumes: readonly (readonly [text: string, parsed: object])[] = [
  ['/data', { type: 'MOUNT_TYPE_VOLUME', source: '', target: '/data' }],
  ['name:/data', { type: 'MOUNT_TYPE_VOLUME', source: 'name', target: '/data' }],
  [
    'name:/data:nocopy,ro',
    { type: 'MOUNT_TYPE_VOLUME', source: 'name', target: '/data', noCopy: true, readOnly: true },
  ],
  ['/a:/b', { type: 'MOUNT_TYPE_BIND', source: '/a', createSource: true, target: '/b' }],
  ['/a:/b/:ro', { type: 'MOUNT_TYPE_BIND', source: '/a', createSource: true, target: '/b', readOnly: true }],
  [
    '/a:/b:rw,rslave,z',
    { type: 'MOUNT_TYPE_BIND', source: '/a', createSource: true, target: '/b', readOnly: false, propagation: 'rslave' },
  ],
  ['./a:/b', { type: 'MOUNT_TYPE_BIND', source: '/work/a', createSource: true, target: '/b' }],
  ['.hidden:/b', { type: 'MOUNT_TYPE_BIND', source: '/work/.hidden', createSource: true, target: '/b' }],
  ['name:/data:z,cached', { type: 'MOUNT_TYPE_VOLUME', source: 'name', target: '/data' }],
  ['.:/b//c', { type: 'MOUNT_TYPE_BIND', source: '/work', createSource: true, target: '/b/c' }],
];
for (const [text, parsed] of volumes) {
  test(`-v ${text}`, () => assert.deepEqual(parseVolume(text, host), parsed));
}
for (const text of [
  '',
  'data',
  '/a:',
  ':/b',
  '/a:b',
  '/a:/b:ro:x',
  '/a:/b:bogus',
  'a/b:/c',
  '/a:/',
  '/a:/b:nocopy',
  'n:/b:rshared',
  '/a:/b:ro,rw',
  '/a:/b:z,Z',
  '/a:/b:slave,shared',
  '/data:ro',
  'a:b:c:d',
]) {
  test(`-v ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseVolume(text, host), { reason: 'INVALID_FIELD', message: /^--volume/ });
  });
}
test('-v with :z is refused where it would mean something', () => {
  assert.throws(() => parseVolume('/a:/b:z', { ...host, selinux: true }), { reason: 'INVALID_FIELD' });
});

const mounts: readonly (readonly [text: string, parsed: object])[] = [
  ['type=bind,source=/a,target=/b', { type: 'MOUNT_TYPE_BIND', source: '/a', target: '/b' }],
  ['type=bind,src=./a,dst=/b,ro', { type: 'MOUNT_TYPE_BIND', source: '/work/a', target: '/b', readOnly: true }],
  ['type=bind,"source=/a,b",target=/b', { type: 'MOUNT_TYPE_BIND', source: '/a,b', target: '/b' }],
  [
    'type=bind,source=/a,target=/b,readonly=false,bind-propagation=rshared',
    { type: 'MOUNT_TYPE_BIND', source: '/a', target: '/b', readOnly: false, propagation: 'rshared' },
  ],
  [
    'type=bind,source=/a,target=/b,bind-nonrecursive,consistency=cached',
    { type: 'MOUNT_TYPE_BIND', source: '/a', target: '/b', nonRecursive: true },
  ],
  ['type=bind,source=/a,target=/b,bind-recursive=enabled', { type: 'MOUNT_TYPE_BIND', source: '/a', target: '/b' }],
  [
    'type=bind,source=/a,target=/b,bind-recursive=disabled',
    { type: 'MOUNT_TYPE_BIND', source: '/a', target: '/b', nonRecursive: true },
  ],
  [
    'type=bind,source=/a,target=/b,ro,bind-recursive=writable',
    { type: 'MOUNT_TYPE_BIND', source: '/a', target: '/b', readOnly: true, readOnlyNonRecursive: true },
  ],
  [
    'type=bind,source=/a,target=/b,ro,bind-recursive=readonly,bind-propagation=rprivate',
    {
      type: 'MOUNT_TYPE_BIND',
      source: '/a',
      target: '/b',
      readOnly: true,
      propagation: 'rprivate',
      readOnlyForceRecursive: true,
    },
  ],
  [
    'src=n,dst=/b,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=1m,uid=3"',
    {
      type: 'MOUNT_TYPE_VOLUME',
      source: 'n',
      target: '/b',
      volumeDriver: 'local',
      volumeOptions: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,uid=3' },
    },
  ],
  [
    'src=n,dst=/b,volume-label=a=b,volume-label=c,volume-subpath=x/y',
    {
      type: 'MOUNT_TYPE_VOLUME',
      source: 'n',
      target: '/b',
      volumeLabels: { a: 'b', c: '' },
      volumeSubpath: 'x/y',
    },
  ],
  ['target=/b', { type: 'MOUNT_TYPE_VOLUME', source: '', target: '/b' }],
  ['source=n,target=/b,volume-nocopy', { type: 'MOUNT_TYPE_VOLUME', source: 'n', target: '/b', noCopy: true }],
  [
    'type=tmpfs,target=/b,tmpfs-size=1m,tmpfs-mode=1770',
    { type: 'MOUNT_TYPE_TMPFS', source: '', target: '/b', tmpfsSizeBytes: 1n << 20n, tmpfsMode: 0o1770 },
  ],
];
for (const [text, parsed] of mounts) {
  test(`--mount ${text}`, () => assert.deepEqual(parseMount(text, '/work'), parsed));
}
for (const text of [
  '',
  'type=bind,target=/b',
  'type=bind,source=/a',
  'type=nfs,source=/a,target=/b',
  'type=bind,source=/a,target=b',
  'type=bind,source=/a,target=/b,colour=red',
  'type=bind,source=/a,target=/b,readonly=maybe',
  'type=bind,source=/a,target=/b,tmpfs-size=1m',
  'type=tmpfs,source=/a,target=/b',
  'type=tmpfs,target=/b,tmpfs-mode=9',
  'type=tmpfs,target=/b,tmpfs-size=1x',
  'type=volume,target=/b,bind-propagation=rshared',
  'type=bind,src=a,target=/b',
  'type=bind,src=/a,target=/b,bind-recursive=sometimes',
  'type=bind,src=/a,target=/b,bind-recursive=readonly',
  'type=bind,src=/a,target=/b,bind-recursive=writable',
  'type=bind,src=/a,target=/b,ro,bind-recursive=readonly',
  'type=bind,src=/a,target=/b,bind-nonrecursive,bind-recursive=disabled',
  'type=volume,src=n,target=/b,bind-nonrecursive',
  'type=bind,src=/a,target=/b,volume-subpath=x',
  'type=bind,src=/a,target=/b,volume-label=x',
  'type=tmpfs,target=/b,volume-opt=a=b',
  'type=volume,src=n,target=/b,volume-opt=type',
  'type=bind,source=/a,target=/b\ntype=bind,source=/c,target=/d',
  'type=bind,"source=/a',
]) {
  test(`--mount ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseMount(text, '/work'), { reason: 'INVALID_FIELD', message: /^--mount/ });
  });
}
test('--tmpfs keeps the options of mount(8)', () => {
  assert.deepEqual(parseTmpfs('/run:rw,noexec,size=64k'), {
    type: 'MOUNT_TYPE_TMPFS',
    target: '/run',
    readOnly: false,
    tmpfsOptions: ['noexec', 'size=64k'],
  });
  assert.throws(() => parseTmpfs('run'), { reason: 'INVALID_FIELD' });
});

test('--env takes values from the client where they are left out', () => {
  const env = { HOME: '/root' };
  assert.equal(parseEnv('A=1=2', env), 'A=1=2');
  assert.equal(parseEnv('A=', env), 'A=');
  assert.equal(parseEnv('HOME', env), 'HOME=/root');
  assert.equal(parseEnv('NONE', env), 'NONE');
  for (const text of ['', '=x']) assert.throws(() => parseEnv(text, env), { reason: 'INVALID_FIELD' });
});
test('--env-file skips comments and names that the client lacks, and says where it is wrong', () => {
  const content = '\ufeff# comment\nA=1\n\n  B=two words\r\nHOME\nNONE\n';
  assert.deepEqual(parseEnvFile('f', content, { HOME: '/root' }), ['A=1', 'B=two words', 'HOME=/root']);
  assert.throws(() => parseEnvFile('f', 'A=1\nB C=2', {}), { message: /^f:2 must be/ });
});
test('labels and options are pairs', () => {
  assert.deepEqual(parsePairs('--label', ['a=1', 'b', 'c=d=e', 'a=2']), { a: '2', b: '', c: 'd=e' });
  assert.throws(() => parsePairs('--label', ['=x']), { message: /^--label/ });
  assert.throws(() => parsePairs('--sysctl', ['a'], true), { message: /^--sysctl/ });
});

test('--ulimit', () => {
  assert.deepEqual(parseUlimit('nofile=1024:2048'), { name: 'nofile', soft: 1024n, hard: 2048n });
  assert.deepEqual(parseUlimit('core=0'), { name: 'core', soft: 0n, hard: 0n });
  assert.deepEqual(parseUlimit('memlock=-1'), { name: 'memlock', soft: -1n, hard: -1n });
  assert.deepEqual(parseUlimit('nproc=5:unlimited'), { name: 'nproc', soft: 5n, hard: -1n });
  for (const text of ['', 'nofile', 'nofile=x', 'files=1', 'nofile=2:1', 'nofile=-1:5', 'nofile=1:2:3', 'nofile=-2']) {
    assert.throws(() => parseUlimit(text), { reason: 'INVALID_FIELD', message: /^--ulimit/ }, text);
  }
});
test('--device', () => {
  assert.deepEqual(parseDevice('/dev/a'), { hostPath: '/dev/a', containerPath: '', permissions: '' });
  assert.deepEqual(parseDevice('/dev/a:rw'), { hostPath: '/dev/a', containerPath: '', permissions: 'rw' });
  assert.deepEqual(parseDevice('/dev/a:/dev/b'), { hostPath: '/dev/a', containerPath: '/dev/b', permissions: '' });
  assert.deepEqual(parseDevice('/dev/a:/dev/b:m'), { hostPath: '/dev/a', containerPath: '/dev/b', permissions: 'm' });
  for (const text of ['', 'dev', '/dev/a:', '/dev/a:b', '/dev/a:/dev/b:x', '/dev/a:/dev/b:rr', '/a:/b:r:w', '/a:/b:']) {
    assert.throws(() => parseDevice(text), { reason: 'INVALID_FIELD' }, text);
  }
});
test('--restart', () => {
  assert.deepEqual(parseRestartPolicy('always'), { name: 'always', maximumRetries: 0 });
  assert.deepEqual(parseRestartPolicy('on-failure:3'), { name: 'on-failure', maximumRetries: 3 });
  assert.deepEqual(parseRestartPolicy('on-failure:'), { name: 'on-failure', maximumRetries: 0 });
  assert.deepEqual(parseRestartPolicy(''), { name: 'no', maximumRetries: 0 });
  for (const text of ['sometimes', ':3', 'always:3', 'on-failure:x', 'on-failure:-1', 'on-failure:1:2']) {
    assert.throws(() => parseRestartPolicy(text), { reason: 'INVALID_FIELD', message: /^--restart/ }, text);
  }
});
test('--health flags', () => {
  assert.equal(parseHealthcheck({}), undefined);
  assert.deepEqual(parseHealthcheck({ healthcheck: false })?.test, ['NONE']);
  assert.deepEqual(parseHealthcheck({ healthCmd: 'true', healthInterval: '5s', healthRetries: '2' }), {
    test: ['CMD-SHELL', 'true'],
    intervalNanos: 5_000_000_000n,
    timeoutNanos: 0n,
    startPeriodNanos: 0n,
    startIntervalNanos: 0n,
    retries: 2,
  });
  assert.throws(() => parseHealthcheck({ healthcheck: false, healthCmd: 'true' }), { message: /^--no-healthcheck/ });
  assert.throws(() => parseHealthcheck({ healthTimeout: '5' }), { message: /^--health-timeout/ });
});
test('--network', () => {
  assert.equal(parseNetwork([]).networkMode, '');
  assert.equal(parseNetwork(['container:web']).networkMode, 'container:web');
  assert.deepEqual(parseNetwork(['name=net,alias=a,alias=b,ip=10.0.0.2']), {
    networkMode: 'net',
    networkAliases: ['a', 'b'],
    ipv4Address: '10.0.0.2',
    ipv6Address: '',
    macAddress: '',
  });
  for (const texts of [[''], ['a', 'b'], ['name=net,colour=red'], ['alias=a']]) {
    assert.throws(() => parseNetwork(texts), { reason: 'INVALID_FIELD', message: /^--network/ }, texts.join());
  }
});
const healthchecks: readonly (readonly [instruction: string, expected: object | RegExp])[] = [
  ['NONE', { test: ['NONE'] }],
  ['CMD curl -f x || exit 1', { test: ['CMD-SHELL', 'curl -f x || exit 1'] }],
  [
    '--interval=5s --retries=2 cmd ["probe", "-x"]',
    { test: ['CMD', 'probe', '-x'], intervalNanos: 5_000_000_000n, retries: 2 },
  ],
  [
    '--timeout=1m --start-period=2s --start-interval=300ms CMD x',
    {
      test: ['CMD-SHELL', 'x'],
      timeoutNanos: 60_000_000_000n,
      startPeriodNanos: 2_000_000_000n,
      startIntervalNanos: 300_000_000n,
    },
  ],
  ['CMD', /^--change HEALTHCHECK/],
  ['probe', /^--change HEALTHCHECK/],
  ['NONE at all', /^--change HEALTHCHECK/],
  ['--often=5s CMD x', /^--change HEALTHCHECK/],
  ['--interval=soon CMD x', /^--change HEALTHCHECK/],
];
for (const [instruction, expected] of healthchecks) {
  test(`--change HEALTHCHECK ${instruction}`, () => {
    const read = () => parseChanges([`HEALTHCHECK ${instruction}`]).healthcheck;
    if (expected instanceof RegExp) assert.throws(read, { reason: 'INVALID_FIELD', message: expected });
    else assert.deepEqual(read(), ImageHealthcheck.fromPartial(expected));
  });
}

test('--change', () => {
  const config = parseChanges([
    'CMD ["a", "b"]',
    'entrypoint run this',
    'ENV A=1 B="two words" C=\'three\'',
    'ENV A 4 5',
    'LABEL x=y',
    'WORKDIR /w',
    'USER 1:2',
    'EXPOSE 80 53/udp',
    'VOLUME ["/a b"]',
    'VOLUME /c /d',
    'STOPSIGNAL SIGINT',
    'ONBUILD RUN make',
  ]);
  assert.deepEqual(config, {
    user: '1:2',
    exposedPorts: ['80/tcp', '53/udp'],
    env: ['A=4 5', 'B=two words', 'C=three'],
    entrypoint: ['/bin/sh', '-c', 'run this'],
    cmd: ['a', 'b'],
    volumes: ['/a b', '/c', '/d'],
    workingDir: '/w',
    labels: { x: 'y' },
    stopSignal: 'SIGINT',
    healthcheck: undefined,
    shell: [],
    onBuild: ['RUN make'],
  });
  for (const text of ['', 'CMD', 'RUN make', 'ENV A', 'ENV A=1 b', 'EXPOSE x', 'FROM x']) {
    assert.throws(() => parseChanges([text]), { reason: 'INVALID_FIELD', message: /^--change/ }, text);
  }
});
