import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyChanges, type ChangedConfig } from './config-changes.ts';

const none: ChangedConfig = {
  user: '',
  exposedPorts: [],
  env: [],
  entrypoint: [],
  cmd: [],
  volumes: [],
  workingDir: '',
  labels: {},
  stopSignal: '',
  healthcheck: undefined,
  shell: [],
  onBuild: [],
};
const base: ChangedConfig = {
  ...none,
  ...{
    env: ['A=1', 'B=two'],
    entrypoint: ['e'],
    cmd: ['c'],
    exposedPorts: ['80/tcp'],
    volumes: ['/v'],
    workingDir: '/w',
  },
  labels: { l: '1' },
};

// What Docker's engine makes of the same.
const changes: readonly (readonly [change: string, expected: Partial<ChangedConfig>])[] = [
  ['ENV PATH=/x:$PATH', { env: ['A=1', 'B=two', 'PATH=/x:'] }],
  [
    `ENV A=2 C="d $B" D='$B' E=\\$B F=\${NO:-other} G=\${A:+set}`,
    {
      env: ['A=2', 'B=two', 'C=d two', 'D=$B', 'E=$B', 'F=other', 'G=set'],
    },
  ],
  ['LABEL n=$A', { labels: { l: '1', n: '1' } }],
  ['LABEL a b c', { labels: { l: '1', a: 'b c' } }],
  ['CMD []', { cmd: [] }],
  ['CMD echo hi', { cmd: ['/bin/sh', '-c', 'echo hi'] }],
  ['ENTRYPOINT ["x"]', { entrypoint: ['x'], cmd: [] }],
  ['ENTRYPOINT []', {}],
  ['WORKDIR rel', { workingDir: '/w/rel' }],
  ['WORKDIR /$A', { workingDir: '/1' }],
  ['EXPOSE 90-91/udp 70', { exposedPorts: ['80/tcp', '90/udp', '91/udp', '70/tcp'] }],
  ['VOLUME ["/p", "/v"]', { volumes: ['/v', '/p'] }],
  ['onbuild RUN  make', { onBuild: ['RUN  make'] }],
  ['USER $B', { user: 'two' }],
  ['STOPSIGNAL SIGINT', { stopSignal: 'SIGINT' }],
];
for (const [change, expected] of changes) {
  test(change, () => assert.deepEqual(applyChanges(base, [change], 'changes'), { ...base, ...expected }));
}

test('a command that is set before the entrypoint stays', () => {
  const { cmd, entrypoint } = applyChanges(base, ['CMD ["x"]', 'ENTRYPOINT ["y"]'], 'changes');
  assert.deepEqual([cmd, entrypoint], [['x'], ['y']]);
});

test('a later change sees the variables of an earlier one, and the config that was given stays as it was', () => {
  const before = structuredClone(base);
  assert.deepEqual(applyChanges(base, ['ENV Z=1', 'ENV Y=$Z'], 'changes').env.slice(2), ['Z=1', 'Y=1']);
  assert.deepEqual(base, before);
});

for (const change of [
  '',
  'CMD',
  'USER',
  'RUN x',
  'SHELL ["a"]',
  'ONBUILD FROM x',
  'ONBUILD ONBUILD RUN x',
  'ENV A',
  'ENV A=${',
  'ENV A=1 b',
  'EXPOSE 0',
  'EXPOSE 70000',
  'EXPOSE 9-8',
  'VOLUME [""]',
]) {
  test(`refused: ${change}`, () => {
    assert.throws(() => applyChanges(base, [change], 'changes'), { reason: 'INVALID_FIELD', message: /^changes/ });
  });
}
