import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addAddress } from './addresses.ts';
import { decodeAddress, encodeAddress, encodeMac, parsePrefix } from './ip-address.ts';
import { addVethPair, setLink } from './links.ts';
import { attribute, decodeAttributes, decodeMessages, encodeMessage, nested, textAttribute } from './message.ts';
import { addRoute } from './routes.ts';

test('an attribute carries its length, its type and padding to four bytes', () => {
  assert.equal(attribute(3, Buffer.from('abcde')).toString('hex'), '090003006162636465000000');
});
test('attributes are read back, nested ones too', () => {
  const encoded = nested(18, textAttribute(1, 'veth', 15), attribute(9, Buffer.of(7)));
  const inner = decodeAttributes(decodeAttributes(encoded).get(18)!);
  assert.equal(inner.get(1)!.toString(), 'veth\0');
  assert.deepEqual([...inner.get(9)!], [7]);
});
test('a value that does not fit into 16 bits of length is refused', () => {
  assert.throws(() => attribute(1, Buffer.alloc(65_532)), RangeError);
  assert.throws(() => nested(1, attribute(2, Buffer.alloc(40_000)), attribute(3, Buffer.alloc(40_000))), RangeError);
  assert.equal(attribute(1, Buffer.alloc(65_531)).length, 65_536);
});
for (const [what, hex] of [
  ['longer than what is there', '0900030061620000'],
  ['shorter than its header', '0300030061620000'],
] as const) {
  test(`an attribute that says it is ${what} is refused`, () => {
    assert.throws(() => decodeAttributes(Buffer.from(hex, 'hex')), RangeError);
  });
}
test('a message is read back, and one that says it is longer than what is there is refused', () => {
  const body = Buffer.from('abcdef');
  const encoded = encodeMessage({ type: 16, flags: 0x600, body, what: '' }, 7, 5);
  assert.deepEqual(decodeMessages(Buffer.concat([encoded, encoded]))[1], { type: 16, flags: 0x605, sequence: 7, body });
  assert.throws(() => decodeMessages(encoded.subarray(0, 20)), RangeError);
});
for (const [text, expected] of [
  ['172.30.0.2', 'ac1e0002'],
  ['::1', '00000000000000000000000000000001'],
  ['fe80::1%eth0', 'fe800000000000000000000000000001'],
  ['::ffff:1.2.3.4', '00000000000000000000ffff01020304'],
  ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
] as const) {
  test(`${text} is encoded as ${expected}`, () => assert.equal(encodeAddress(text).toString('hex'), expected));
}
for (const text of [
  '::',
  '::1',
  'fe80::',
  '1::2',
  '2001:db8:0:0:1::',
  '1:2:3:4:5:6:7:8',
  '10.0.0.1',
  '1:0:2:3:4:5:6:7',
]) {
  test(`${text} comes back as it was`, () => {
    assert.equal(decodeAddress(encodeAddress(text)), text);
  });
}
for (const text of ['1.2.3', '1.2.3.4/33', '::/129', '1.2.3.4/', '1.2.3.4/08', 'x/8', '1.2.3.4']) {
  test(`${text} is no address with a prefix length`, () => assert.throws(() => parsePrefix(text), RangeError));
}
test('names, MAC addresses and addresses that are none are refused before anything is sent', () => {
  assert.throws(() => setLink({ name: 'sixteen-letters-' }, { up: true }), RangeError);
  assert.throws(() => setLink({ name: 'a/b' }, { up: true }), RangeError);
  assert.throws(() => addVethPair({ name: '', peer: { name: 'eth0' } }), RangeError);
  assert.throws(() => encodeMac('02:42:ac:1e:00'), RangeError);
  assert.throws(() => addAddress({ link: 1, address: '300.1.1.1/8' }), RangeError);
  assert.throws(() => addRoute({ destination: '10.0.0.0' }), RangeError);
});
