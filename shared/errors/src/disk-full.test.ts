import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { asDiskFull } from './disk-full.ts';
import { FlotillaError } from './flotilla-error.ts';

function thrownBy(work: () => void): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return assert.fail('nothing was thrown');
}

const wrap = (cause: unknown) => new FlotillaError('internal', 'it failed', { reason: 'FAILED', cause });

test('a full disk is told apart, however deep it lies', () => {
  const full = thrownBy(() => writeFileSync('/dev/full', 'x'));
  for (const error of [full, wrap(full), wrap(wrap(full))]) {
    const told = asDiskFull(error);
    assert.equal(told?.code, 'resource_exhausted');
    assert.equal(told.reason, 'DISK_FULL');
    assert.equal(told.cause, error);
  }
});

test('a database that may not grow is a full disk', () => {
  const database = new DatabaseSync(':memory:');
  database.exec('CREATE TABLE t (a); PRAGMA max_page_count = 2');
  const error = thrownBy(() => database.prepare('INSERT INTO t VALUES (?)').run('x'.repeat(100_000)));
  assert.equal(asDiskFull(error)?.reason, 'DISK_FULL');
  database.close();
});

test('nothing else is', () => {
  const absent = thrownBy(() => writeFileSync('/nowhere/at/all', 'x'));
  for (const error of [absent, wrap(absent), 'ENOSPC', undefined]) assert.equal(asDiskFull(error), undefined);
});
