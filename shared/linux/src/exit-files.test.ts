import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { nowUnixNano } from './clock.ts';
import { ExitFiles } from './exit-files.ts';

test('an exit is found by process id and time of start; what is older than an hour is taken away', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-exits-'));
  try {
    const exits = new ExitFiles(join(folder, 'exits'));
    assert.equal(exits.find(7, 100), undefined, 'there is no folder yet');
    const before = nowUnixNano();
    exits.write(7, 100, { exitCode: 3, signal: undefined });
    const { exitedAtUnixNano, ...how } = exits.find(7, 100)!;
    assert.deepEqual(how, { exitCode: 3, signal: undefined });
    assert.ok(exitedAtUnixNano >= before && exitedAtUnixNano <= nowUnixNano());
    assert.equal(exits.find(7, 101), undefined, 'another process that had that id');

    utimesSync(join(exits.folder, '7-100.json'), 0, 0);
    exits.write(8, 100, { exitCode: 137, signal: 9 });
    assert.deepEqual(readdirSync(exits.folder), ['8-100.json']);
    assert.equal(exits.find(8, 100)?.signal, 9);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
