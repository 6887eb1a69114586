import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BootRecord } from './boot-record.ts';

test('a boot is new when another one is remembered', () => {
  const folder = mkdtempSync(join(tmpdir(), 'boot-'));
  try {
    const of = (boot: string) => new BootRecord(join(folder, 'boot-id'), boot);
    assert.equal(of('one').isNew, false);
    of('one').remember();
    of('one').remember();
    assert.deepEqual([of('one').isNew, of('two').isNew], [false, true]);
    of('two').remember();
    assert.deepEqual([of('one').isNew, of('two').isNew], [true, false]);
    assert.deepEqual(readdirSync(folder), ['boot-id']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
