import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freeSubnets, nextAddress } from './choose-address.ts';
import { formatCidr, formatIpv4, macOf, overlap, parseCidr, parseCidrs, parseIpv4 } from './ipv4.ts';

const cidr = (text: string) => parseCidr(text)!;
const address = (text: string) => parseIpv4(text)!;

test('addresses are given in turn, and those given back only when the others were', () => {
  const taken = new Set<number>();
  let last: number | undefined;
  const next = () => {
    last = nextAddress(cidr('10.0.0.0/29'), last, (one) => taken.has(one));
    taken.add(last);
    return formatIpv4(last);
  };
  assert.deepEqual([next(), next(), next()], ['10.0.0.2', '10.0.0.3', '10.0.0.4']);
  taken.delete(address('10.0.0.2'));
  taken.delete(address('10.0.0.4'));
  assert.deepEqual([next(), next(), next(), next()], ['10.0.0.5', '10.0.0.6', '10.0.0.2', '10.0.0.4']);
  assert.throws(next, { code: 'resource_exhausted', reason: 'NO_FREE_ADDRESS', metadata: { range: '10.0.0.0/29' } });
});
test('neither the network, the gateway nor the broadcast address is ever given', () => {
  const given: string[] = [];
  for (let last: number | undefined, i = 0; i < 12; i++) {
    last = nextAddress(cidr('10.0.0.0/29'), last, () => false);
    given.push(formatIpv4(last));
  }
  assert.deepEqual(new Set(given), new Set([2, 3, 4, 5, 6].map((i) => `10.0.0.${i}`)));
});
test('an address of another range is where nobody starts from', () => {
  assert.equal(formatIpv4(nextAddress(cidr('10.0.0.0/24'), address('172.30.0.9'), () => false)), '10.0.0.2');
});
test('ranges that overlap with a route or hold a name server of the host are left out', () => {
  const ranges = parseCidrs('172.30.0.0/16, 172.31.0.0/16,10.0.0.0/16,10.9.0.0/16');
  const routes = [cidr('172.30.128.0/24'), cidr('10.9.0.0/8')];
  assert.deepEqual(freeSubnets(ranges, { routes, addresses: [] }).map(formatCidr), ['172.31.0.0/16']);
  assert.deepEqual(freeSubnets(ranges, { routes, addresses: [address('172.31.0.2')] }), []);
});
for (const text of ['10.0.0.0', '10.0.0/8', '10.0.0.0/33', '10.0.0.0/+8', '10.0.0.0/30', 'fd00::/64', '']) {
  test(`${JSON.stringify(text)} is no range for containers`, () => {
    assert.throws(() => parseCidrs(`10.0.0.0/8,${text}`), { reason: 'INVALID_FIELD' });
  });
}
test('addresses above 128.0.0.0 are numbers like the others', () => {
  assert.equal(formatIpv4(address('255.255.255.254')), '255.255.255.254');
  assert.equal(formatCidr(cidr('192.168.255.7/20')), '192.168.240.0/20');
  assert.ok(overlap(cidr('0.0.0.0/0'), cidr('224.0.0.0/4')));
  assert.equal(macOf(address('172.30.0.2')), '02:42:ac:1e:00:02');
});
