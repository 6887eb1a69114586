import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlotillaError } from '@flotilla/errors';
import { parseSandboxSpec, type SandboxRequest } from './parse-sandbox-spec.ts';
import type { NetworkRecord } from './records.ts';

const network = (name: NetworkRecord['driver']): NetworkRecord => ({
  networkId: name,
  name,
  driver: name,
  createdAtUnixNano: 0n,
  subnet: undefined,
});
function find(name: string): NetworkRecord {
  if (name === 'bridge' || name === 'host' || name === 'none') return network(name);
  throw new FlotillaError('not_found', name, { reason: 'NETWORK_NOT_FOUND' });
}
const attachment = { network: 'bridge', aliases: [], ipv4Address: '', ipv6Address: '', macAddress: '' };
const port = { hostIp: '', hostPort: 80, containerPort: 80, protocol: '' };
const good: SandboxRequest = { sandboxId: 'a1', mode: 'bridge', attachments: [attachment], ports: [], sysctls: {} };
const parse = (changes: Partial<SandboxRequest>) => parseSandboxSpec({ ...good, ...changes }, find);

test('a request is taken as it is meant', () => {
  const plan = parse({ ports: [{ ...port, hostIp: '0.0.0.0' }], sysctls: { 'net.core.somaxconn': '5' } });
  assert.deepEqual(plan.ports, [{ hostIp: '', hostPort: 80, containerPort: 80, protocol: 'tcp' }]);
  assert.equal(plan.network.name, 'bridge');
  const mac = parse({ attachments: [{ ...attachment, macAddress: '02:42:AC:11:00:02' }] }).mac;
  assert.equal(mac, '02:42:ac:11:00:02');
});
test('one port of the host may go by protocol and by address to different places', () => {
  const ports = [
    { ...port, hostIp: '127.0.0.1' },
    { ...port, hostIp: '127.0.0.2' },
    { ...port, protocol: 'udp' },
  ];
  assert.equal(parse({ ports: [...ports, { ...port, hostPort: 0 }, { ...port, hostPort: 0 }] }).ports.length, 5);
});
test('ports of a sandbox without a bridge are left out with a warning', () => {
  for (const mode of ['host', 'none']) {
    const plan = parse({ mode, attachments: [], ports: [port] });
    assert.deepEqual([plan.ports, plan.warnings.length, plan.network.name], [[], 1, mode]);
  }
});

const refused: readonly (readonly [string, Partial<SandboxRequest>, string])[] = [
  ['no id', { sandboxId: '' }, 'spec.sandbox_id'],
  ['an id with a path', { sandboxId: '../a' }, 'spec.sandbox_id'],
  ['an id like those of namespaces kept ready', { sandboxId: 'warm-1' }, 'spec.sandbox_id'],
  ['an unknown mode', { mode: 'container' }, 'spec.mode'],
  ['bridge without networks', { attachments: [] }, 'spec.attachments'],
  ['host with networks', { mode: 'host' }, 'spec.attachments'],
  ['host as a network', { attachments: [{ ...attachment, network: 'host' }] }, 'spec.attachments[0].network'],
  [
    'a fixed address',
    { attachments: [{ ...attachment, ipv4Address: '172.30.0.9' }] },
    'spec.attachments[0].ipv4_address',
  ],
  ['a further name', { attachments: [{ ...attachment, aliases: ['x'] }] }, 'spec.attachments[0].aliases'],
  [
    'a multicast MAC',
    { attachments: [{ ...attachment, macAddress: '01:00:00:00:00:01' }] },
    'spec.attachments[0].mac_address',
  ],
  ['container port 0', { ports: [{ ...port, containerPort: 0 }] }, 'spec.ports[0].container_port'],
  ['host port 65536', { ports: [port, { ...port, hostPort: 65_536 }] }, 'spec.ports[1].host_port'],
  ['sctp', { ports: [{ ...port, protocol: 'sctp' }] }, 'spec.ports[0].protocol'],
  ['an IPv6 address', { ports: [{ ...port, hostIp: '::1' }] }, 'spec.ports[0].host_ip'],
  ['an octal address', { ports: [{ ...port, hostIp: '127.0.0.01' }] }, 'spec.ports[0].host_ip'],
  ['one port twice', { ports: [port, { ...port, hostIp: '127.0.0.1' }] }, 'spec.ports[1].host_port'],
  ['too many ports', { ports: Array.from({ length: 2_049 }, () => port) }, 'spec.ports'],
  [
    'a parameter of the kernel at large',
    { sysctls: { 'kernel.core_pattern': 'x' } },
    'spec.sysctls[kernel.core_pattern]',
  ],
  ['a parameter with a path', { sysctls: { 'net.ipv4/../../kernel': 'x' } }, 'spec.sysctls[net.ipv4/../../kernel]'],
  ['a parameter of the host', { mode: 'host', attachments: [], sysctls: { 'net.a': '1' } }, 'spec.sysctls[net.a]'],
  ['a value of two lines', { sysctls: { 'net.a': '1\n2' } }, 'spec.sysctls[net.a]'],
];
for (const [what, changes, field] of refused) {
  test(`${what} is refused, naming ${field}`, () => {
    assert.throws(
      () => parse(changes),
      (error) => error instanceof FlotillaError && error.reason === 'INVALID_FIELD' && error.metadata.field === field,
    );
  });
}
test('an unknown network and a second network are refused', () => {
  assert.throws(() => parse({ attachments: [{ ...attachment, network: 'x' }] }), { reason: 'NETWORK_NOT_FOUND' });
  assert.throws(() => parse({ attachments: [attachment, attachment] }), { reason: 'SEVERAL_NETWORKS' });
});
