import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveUser, type UserRequest } from './users.ts';

const passwd = Buffer.from(
  'root:x:0:0:root:/root:/bin/sh\n# comment\nbroken line\nwww:x:33:33::/var/www:/bin/false\n1000:x:0:0::/evil:/bin/sh\nbig:x:99999999999:1::/:\nrel:x:7:7::home:/bin/sh\n',
);
const group = Buffer.from('root:x:0:root\nwww:x:33:\ndisk:x:6:root,www\nwheel:x:10:www\nempty:x::www\n');
const base: UserRequest = { user: '', groupAdd: [], passwd, group };

for (const [user, expected] of [
  ['', { uid: 0, gid: 0, additionalGids: [0, 6], home: '/root' }],
  ['root', { uid: 0, gid: 0, additionalGids: [0, 6], home: '/root' }],
  ['www', { uid: 33, gid: 33, additionalGids: [33, 6, 10], home: '/var/www' }],
  ['33', { uid: 33, gid: 33, additionalGids: [33, 6, 10], home: '/var/www' }],
  ['www:disk', { uid: 33, gid: 6, additionalGids: [6], home: '/var/www' }],
  ['www:4294967294', { uid: 33, gid: 4294967294, additionalGids: [4294967294], home: '/var/www' }],
  ['4294967294', { uid: 4294967294, gid: 0, additionalGids: [0], home: '/' }],
  ['rel', { uid: 7, gid: 7, additionalGids: [7], home: '/' }],
] as const) {
  test(`user ${JSON.stringify(user)} is uid ${expected.uid}`, () =>
    assert.deepEqual(resolveUser({ ...base, user }), expected));
}

test('a number is never looked up as a name', () => {
  // There is a user called 1000 with uid 0.
  assert.deepEqual(resolveUser({ ...base, user: '1000' }), { uid: 1000, gid: 0, additionalGids: [0], home: '/' });
});

for (const [user, reason] of [
  ['nobody', 'USER_NOT_FOUND'],
  ['big', 'USER_NOT_FOUND'],
  ['www:nope', 'GROUP_NOT_FOUND'],
  ['www:empty', 'GROUP_NOT_FOUND'],
  ['4294967295', 'INVALID_FIELD'],
  ['99999999999999999999', 'INVALID_FIELD'],
  ['-1', 'INVALID_FIELD'],
  ['+0', 'INVALID_FIELD'],
  ['0:-1', 'INVALID_FIELD'],
  [':0', 'INVALID_FIELD'],
  ['www:', 'INVALID_FIELD'],
  ['a:b:c', 'INVALID_FIELD'],
  ['a\nb', 'INVALID_FIELD'],
] as const) {
  test(`user ${JSON.stringify(user)} is refused`, () =>
    assert.throws(() => resolveUser({ ...base, user }), { reason }));
}

test('added groups are names or numbers, each once', () => {
  assert.deepEqual(resolveUser({ ...base, user: '5', groupAdd: ['wheel', '10', '12'] }).additionalGids, [0, 10, 12]);
  assert.throws(() => resolveUser({ ...base, groupAdd: ['nope'] }), { reason: 'GROUP_NOT_FOUND' });
});

test('without the files only root and numbers are known', () => {
  const none = { ...base, passwd: undefined, group: undefined };
  assert.deepEqual(resolveUser(none), { uid: 0, gid: 0, additionalGids: [0], home: '/' });
  assert.throws(() => resolveUser({ ...none, user: 'root' }), { reason: 'USER_NOT_FOUND' });
});

test('a huge file is read to its bound only', () => {
  const filler = Buffer.alloc(2 << 20, 'x');
  assert.throws(
    () => resolveUser({ ...base, user: 'late', passwd: Buffer.concat([filler, Buffer.from('\nlate:x:5:5::/:\n')]) }),
    {
      reason: 'USER_NOT_FOUND',
    },
  );
});
