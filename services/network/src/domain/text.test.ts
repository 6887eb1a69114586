import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isReachableFromInside, parseResolvConf } from './resolv-conf.ts';
import { addPorts, deletePorts, tableName } from './ruleset.ts';

test('resolv.conf is read as resolvers do: comments and nonsense left out, the last search counts', () => {
  const text =
    '# made by hand\nnameserver 127.0.0.53 # local\nnameserver 10.0.0.1\nnameserver x\nnameserver fe80::1%eth0\n' +
    'domain a.example\nsearch b.example  c.example\noptions edns0 ndots:2\n; end\nnameserver';
  assert.deepEqual(parseResolvConf(text), {
    nameservers: ['127.0.0.53', '10.0.0.1', 'fe80::1%eth0'],
    searchDomains: ['b.example', 'c.example'],
    options: ['edns0', 'ndots:2'],
  });
  assert.deepEqual(parseResolvConf('search .\n').searchDomains, []);
});
for (const [nameserver, reachable] of [
  ['10.0.0.1', true],
  ['127.0.0.53', false],
  ['0.0.0.0', false],
  ['::1', false],
  ['2001:db8::1', false],
] as const) {
  test(`${nameserver} is ${reachable ? '' : 'not '}for containers`, () => {
    assert.equal(isReachableFromInside(nameserver), reachable);
  });
}
test('a table has a name without characters that need quotes', () => {
  assert.deepEqual(['flotilla', 'fl-1a2B3c4d'].map(tableName), ['flotilla', 'fl_1a2b3c4d']);
});
test('a port is an element of the map of its kind, and is removed by its key', () => {
  const any = { hostIp: '', hostPort: 80, containerPort: 8080, protocol: 'tcp', address: '10.0.0.2' } as const;
  const one = { ...any, hostIp: '127.0.0.1', protocol: 'udp' } as const;
  assert.equal(
    addPorts('t', [any, one]),
    'add element ip t ports { tcp . 80 : 10.0.0.2 . 8080 }\n' +
      'add element ip t ports_of_addresses { 127.0.0.1 . udp . 80 : 10.0.0.2 . 8080 }\n',
  );
  assert.equal(deletePorts('t', [any]), 'delete element ip t ports { tcp . 80 }\n');
});
