import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressOf, mountsAtOnce, parseVolumeOptions, withAddress } from './volume-options.ts';

const parse = (options: Readonly<Record<string, string>>) => parseVolumeOptions(options, 'options');

test('a volume without options mounts nothing', () => assert.equal(parse({}), undefined));

test('type, device and o are what is mounted; no type is one of a bind', () => {
  const tmpfs = { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,uid=5' };
  assert.deepEqual(parse(tmpfs), { type: 'tmpfs', device: 'tmpfs', options: 'size=1m,uid=5' });
  assert.deepEqual(parse({ type: '', device: '/srv', o: 'bind' }), { type: 'none', device: '/srv', options: 'bind' });
  assert.deepEqual(parse({ type: 'btrfs', device: '/dev/sda2' }), { type: 'btrfs', device: '/dev/sda2', options: '' });
});

const refused: readonly (readonly [field: string, options: Readonly<Record<string, string>>])[] = [
  ['options.foo', { foo: 'bar' }],
  ['options.size', { size: '1m' }],
  ['options.device', { type: 'tmpfs' }],
  ['options.type', { device: '/x' }],
  ['options.type', { o: 'bind', device: '/x' }],
  ['options.device', { type: 'none', o: 'bind' }],
  ['options.device', { type: 'none', o: 'rbind,ro', device: 'relative' }],
  ['options.device', { type: 'tmpfs', device: `/${'x'.repeat(4096)}` }],
  ['options.type', { type: 'a b', device: 'x' }],
  ['options.o', { type: 'tmpfs', device: 'x', o: 'remount,ro' }],
  ['options.o', { type: 'tmpfs', device: 'x', o: 'ro\0' }],
  ['options.o', { type: 'tmpfs', device: 'x', o: 'x'.repeat(4096) }],
];
for (const [field, options] of refused) {
  test(`refused, naming ${field}: ${JSON.stringify(options).slice(0, 60)}`, () => {
    assert.throws(() => parse(options), { reason: 'INVALID_FIELD', message: new RegExp(`^${field} must be `) });
  });
}

test('what may wait for a network or a disk is not mounted at once', () => {
  const of = (type: string, options: string) => mountsAtOnce({ type, device: '/x', options });
  assert.deepEqual(
    [of('tmpfs', ''), of('none', 'ro,bind'), of('nfs', 'addr=1.2.3.4'), of('ext4', '')],
    [true, true, false, false],
  );
});

test('the address of a network file system is what the kernel gets', () => {
  const nfs = { type: 'nfs', device: ':/export', options: 'addr=files,rw,nfsvers=4' };
  assert.equal(addressOf(nfs), 'files');
  assert.equal(addressOf({ ...nfs, type: 'tmpfs' }), undefined);
  assert.equal(withAddress(nfs, '10.0.0.1').options, 'addr=10.0.0.1,rw,nfsvers=4');
});
