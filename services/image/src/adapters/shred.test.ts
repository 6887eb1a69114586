import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { shred } from './shred.ts';

test('a tree deeper than a path may be long is removed, and what its links point to stays', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-shred-'));
  const before = process.cwd();
  try {
    const tree = join(folder, 'tree');
    const kept = join(folder, 'kept');
    mkdirSync(tree);
    writeFileSync(kept, 'kept');
    process.chdir(tree);
    for (let depth = 0; depth < 600; depth++) {
      symlinkSync(kept, 'link');
      mkdirSync('a-folder-within');
      process.chdir('a-folder-within');
    }
    process.chdir(before);
    await shred(tree);
    assert.deepEqual(readdirSync(folder), ['kept']);
    await shred(tree);
    assert.ok(existsSync(kept));
  } finally {
    process.chdir(before);
    rmSync(folder, { recursive: true, force: true });
  }
});
