import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findMount } from './check-propagation.ts';

const mountinfo = `22 1 8:1 / / rw,relatime - ext4 /dev/sda rw
30 22 0:30 / /srv rw shared:5 - tmpfs tmpfs rw
31 30 0:31 / /srv/a\\040b rw shared:6 master:3 - tmpfs tmpfs rw
32 22 0:32 / /data rw master:9 propagate_from:2 - tmpfs shared:1 rw
33 32 0:33 / /data rw - tmpfs tmpfs rw
`;
const cases: readonly (readonly [path: string, mountPoint: string, shared: boolean, slave: boolean])[] = [
  ['/', '/', false, false],
  ['/srvx', '/', false, false],
  ['/srv', '/srv', true, false],
  ['/srv/deep/er', '/srv', true, false],
  ['/srv/a b/c', '/srv/a b', true, true],
  ['/data/x', '/data', false, false],
];
for (const [path, mountPoint, isShared, isSlave] of cases) {
  test(`${path} is in the mount at ${mountPoint}, ${isShared ? '' : 'not '}shared, ${isSlave ? 'a' : 'no'} slave`, () => {
    assert.deepEqual(findMount(mountinfo, path), { mountPoint, isShared, isSlave });
  });
}
test('fields after the dash are no tags', () => {
  const { isShared, isSlave } = findMount(mountinfo.split('\n').slice(0, 4).join('\n'), '/data/x');
  assert.deepEqual([isShared, isSlave], [false, true]);
});
