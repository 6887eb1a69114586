import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Container } from '@flotilla/proto/flotilla/v1/container';
import { Image } from '@flotilla/proto/flotilla/v1/image';
import { formatSection } from '../commands/explain.ts';
import { containerColumns, containerRow, formatPorts, formatStatus } from './containers.ts';
import { formatDuration, formatSize, formatTimestamp } from './human.ts';
import { imageRows, matchesReference, splitReference } from './images.ts';
import { toProtoJson } from './proto-json.ts';
import { renderList } from './table.ts';
import { fillTemplate } from './template.ts';

const durations: readonly (readonly [seconds: number, text: string])[] = [
  [0.4, 'Less than a second'],
  [1, '1 second'],
  [59, '59 seconds'],
  [60, 'About a minute'],
  [119, 'About a minute'],
  [120, '2 minutes'],
  [3600, 'About an hour'],
  [47 * 3600, '47 hours'],
  [48 * 3600, '2 days'],
  [13 * 86_400, '13 days'],
  [14 * 86_400, '2 weeks'],
  [60 * 86_400, '2 months'],
  [800 * 86_400, '2 years'],
];
for (const [seconds, text] of durations) {
  test(`${seconds} s are ${text}`, () => assert.equal(formatDuration(seconds), text));
}

for (const [bytes, text] of [
  [0n, '0B'],
  [999n, '999B'],
  [4_860_000n, '4.86MB'],
  [117_345_678n, '117MB'],
  [1_200_000_000n, '1.2GB'],
] as const) {
  test(`${bytes} bytes are ${text}`, () => assert.equal(formatSize(bytes), text));
}

test('a timestamp has all nine digits', () => {
  assert.equal(formatTimestamp(1_700_000_000_000_000_001n), '2023-11-14T22:13:20.000000001Z');
});

const nowMs = 1_700_000_120_000;
const base = {
  containerId: `abcdef012345${'0'.repeat(52)}`,
  name: 'web',
  config: { image: 'debian:12', labels: { a: '1' }, exposedPorts: ['443/tcp', '80/tcp'] },
  createdAtUnixNano: 1_700_000_000_000_000_000n,
  args: ['sh', '-c', 'echo hello world'],
  ports: [{ hostIp: '127.0.0.1', hostPort: 8080, containerPort: 80, protocol: 'tcp' }],
};
const started = { startedAtUnixNano: 1_700_000_100_000_000_000n, finishedAtUnixNano: 1_700_000_117_000_000_000n };
const statuses: readonly (readonly [status: object, text: string])[] = [
  [{ state: 'CONTAINER_STATE_CREATED' }, 'Created'],
  [{ state: 'CONTAINER_STATE_RUNNING', ...started }, 'Up 20 seconds'],
  [
    { state: 'CONTAINER_STATE_RUNNING', health: { status: 'HEALTH_STATUS_STARTING' }, ...started },
    'Up 20 seconds (health: starting)',
  ],
  [
    { state: 'CONTAINER_STATE_RUNNING', health: { status: 'HEALTH_STATUS_UNHEALTHY' }, ...started },
    'Up 20 seconds (unhealthy)',
  ],
  [
    { state: 'CONTAINER_STATE_PAUSED', health: { status: 'HEALTH_STATUS_HEALTHY' }, ...started },
    'Up 20 seconds (Paused)',
  ],
  [{ state: 'CONTAINER_STATE_EXITED', exitCode: 137, ...started }, 'Exited (137) 3 seconds ago'],
  [{ state: 'CONTAINER_STATE_EXITED', exitCode: 1, restarting: true, ...started }, 'Restarting (1) 3 seconds ago'],
  [{ state: 'CONTAINER_STATE_DEAD' }, 'Dead'],
];
for (const [status, text] of statuses) {
  test(`status ${text}`, () => assert.equal(formatStatus(Container.fromPartial({ ...base, status }), nowMs), text));
}

const container = Container.fromPartial({ ...base, status: { state: 'CONTAINER_STATE_RUNNING', ...started } });
const row = containerRow(container, { truncate: true, nowMs });

test('ps prints Docker’s table', () => {
  assert.equal(
    renderList({ columns: containerColumns, rows: [row] }),
    [
      'CONTAINER ID   IMAGE       COMMAND                  CREATED         STATUS          PORTS                             NAMES',
      `abcdef012345   debian:12   "sh -c 'echo hello w…"   2 minutes ago   Up 20 seconds   127.0.0.1:8080->80/tcp, 443/tcp   web`,
      '',
    ].join('\n'),
  );
});
test('ps without containers prints its heads', () => {
  const heads = renderList({ columns: containerColumns, rows: [] });
  assert.equal(heads, 'CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n');
});
test('ps -q, json and templates', () => {
  assert.equal(renderList({ columns: containerColumns, rows: [row], quiet: 'ID' }), 'abcdef012345\n');
  assert.equal(JSON.parse(renderList({ columns: containerColumns, rows: [row], format: 'json' })).State, 'running');
  const format = '{{.ID}}: {{.Names}} {{upper .State}}';
  assert.equal(renderList({ columns: containerColumns, rows: [row], format }), 'abcdef012345: web RUNNING\n');
  assert.equal(
    renderList({ columns: containerColumns, rows: [row], format: 'table {{.Names}}\\t{{.Status}}' }),
    'NAMES     STATUS\nweb       Up 20 seconds\n',
  );
});
test('ps --no-trunc shows everything', () => {
  const full = containerRow(container, { truncate: false, nowMs });
  assert.equal(full.ID, base.containerId);
  assert.equal(full.Command, `"sh -c 'echo hello world'"`);
});
test('ports of all addresses and of IPv6', () => {
  const ports = [
    { hostIp: '', hostPort: 53, containerPort: 53, protocol: 'udp' },
    { hostIp: '::1', hostPort: 80, containerPort: 80, protocol: '' },
  ];
  assert.equal(formatPorts(ports, []), '0.0.0.0:53->53/udp, [::1]:80->80/tcp');
});

test('images are a row a reference', () => {
  const image = Image.fromPartial({
    imageId: `sha256:abcdef012345${'0'.repeat(52)}`,
    references: ['debian:12', 'host:5000/team/debian'],
    sizeBytes: 117_000_000n,
    createdAtUnixNano: 1_700_000_000_000_000_000n,
  });
  const rows = imageRows(image, { truncate: true, nowMs });
  assert.deepEqual(
    rows.map(({ Repository, Tag, ID, Size }) => [Repository, Tag, ID, Size]),
    [
      ['debian', '12', 'abcdef012345', '117MB'],
      ['host:5000/team/debian', '<none>', 'abcdef012345', '117MB'],
    ],
  );
  assert.deepEqual(splitReference(undefined), { repository: '<none>', tag: '<none>' });
});

const data = { name: 'web', config: { image: 'debian', labels: { a: 1 } }, empty: null };
const templates: readonly (readonly [template: string, text: string])[] = [
  ['{{.name}}', 'web'],
  ['{{.Name}}', 'web'],
  ['{{.config.image}}!', 'debian!'],
  ['{{json .config.labels}}', '{"a":1}'],
  ['{{ upper .name }}\\t{{lower .Name}}', 'WEB\tweb'],
  ['plain', 'plain'],
];
for (const [template, text] of templates) {
  test(`template ${template}`, () => assert.equal(fillTemplate(template, data), text));
}
for (const template of [
  '{{',
  'a {{.Name',
  '{{.Name}} {{',
  '{{.nothing}}',
  '{{range .x}}',
  '{{.name.more}}',
  '{{}}',
  '{{.empty.x}}',
]) {
  test(`template ${template} is refused`, () => {
    assert.throws(() => fillTemplate(template, data), { reason: 'INVALID_FIELD', message: /^--format/ });
  });
}

test('a message as JSON keeps its defaults, so that a script finds an exit code of 0', () => {
  const json = toProtoJson(Container.fromPartial({ containerId: 'c', status: { run: 1n } }));
  const { status } = json as { readonly status: Readonly<Record<string, unknown>> };
  assert.equal(status.exitCode, 0);
  assert.equal(status.run, '1');
  assert.equal(status.oomKilled, false);
});

test('a chapter of explain keeps the lines of a value under each other', () => {
  const rows = [
    { name: 'pids.max', value: 'max', source: '/a' },
    { name: 'list', value: 'one\ntwo', source: '/b' },
  ];
  assert.equal(
    formatSection({ title: 'Groups', rows }),
    ['Groups', '  pids.max  max  /a', '  list      one  /b', '            two', ''].join('\n'),
  );
});

const references: readonly (readonly [pattern: string, matches: boolean])[] = [
  ['team/debian', true],
  ['team/debian:12', true],
  ['team/*', true],
  ['team/deb*:1?', true],
  ['debian', false],
  ['team/debian:1', false],
  ['*', false],
  ['team/debia.', false],
];
for (const [pattern, matches] of references) {
  test(`images ${pattern} ${matches ? 'shows' : 'leaves out'} team/debian:12`, () => {
    assert.equal(matchesReference({ Repository: 'team/debian', Tag: '12' }, [pattern]), matches);
  });
}
