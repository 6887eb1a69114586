import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { findExitRecord, writeExitRecord } from './exit-record.ts';

const folder = mkdtempSync(join(tmpdir(), 'fl-exit-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('a record reads as it was written, to the nanosecond, and replaces the one before', () => {
  assert.equal(findExitRecord(folder), undefined);
  const first = { containerId: 'a', run: 1n, exitCode: 0, oomKilled: false, exitedAtUnixNano: 1n };
  writeExitRecord(folder, first);
  assert.deepEqual(findExitRecord(folder), first);
  const second = {
    ...first,
    run: 2n ** 60n + 1n,
    exitCode: 137,
    signal: 9,
    exitedAtUnixNano: 1_795_561_200_123_456_789n,
  };
  writeExitRecord(folder, second);
  assert.deepEqual(findExitRecord(folder), second);
  assert.deepEqual(readdirSync(folder), ['exit.json']);
});

test('a record of a later run stays, and one that the output was drained for', () => {
  const one = { containerId: 'a', run: 2n ** 61n, exitCode: 3, oomKilled: false, exitedAtUnixNano: 1n };
  const drained = { ...one, drained: true };
  for (const record of [one, drained, one]) writeExitRecord(folder, record);
  assert.deepEqual(findExitRecord(folder), drained);
  writeExitRecord(folder, { ...drained, run: one.run - 1n });
  assert.deepEqual(findExitRecord(folder), drained);
  writeExitRecord(folder, { ...drained, exitCode: 4 });
  assert.equal(findExitRecord(folder)?.exitCode, 4);
  assert.deepEqual(readdirSync(folder), ['exit.json']);
});

test('a folder that is not there is an error', () => {
  const record = { containerId: 'a', run: 1n, exitCode: 0, oomKilled: false, exitedAtUnixNano: 1n };
  assert.throws(() => writeExitRecord(join(folder, 'missing'), record), { code: 'ENOENT' });
});
