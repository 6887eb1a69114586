import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMountOptions } from './mount-options.ts';

// Flags are those of mount(2), linux/mount.h.
const cases: readonly (readonly [text: string, flags: number, propagation: number, data: string])[] = [
  ['', 0, 0, ''],
  ['defaults', 0, 0, ''],
  ['ro,nosuid,nodev,noexec', 1 | 2 | 4 | 8, 0, ''],
  ['ro,rw', 0, 0, ''],
  ['size=1m,uid=5,noatime', 0x400, 0, 'size=1m,uid=5'],
  ['bind', 0x1000, 0, ''],
  ['rbind,rslave,ro', 0x1000 | 0x4000 | 1, 0x80000 | 0x4000, ''],
  ['sync,dirsync,mand,nodiratime,relatime,strictatime', 0x10 | 0x80 | 0x40 | 0x800 | 0x200000 | 0x1000000, 0, ''],
  ['addr=10.0.0.1,rw,nfsvers=4.1,soft', 0, 0, 'addr=10.0.0.1,nfsvers=4.1,soft'],
  ['username=a,password=b', 0, 0, 'username=a,password=b'],
];
for (const [text, flags, propagation, data] of cases) {
  test(`options ${JSON.stringify(text)}`, () =>
    assert.deepEqual(parseMountOptions(text), { flags, propagation, data }));
}
