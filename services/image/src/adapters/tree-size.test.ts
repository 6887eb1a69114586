import assert from 'node:assert/strict';
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { treeSize } from './tree-size.ts';

test('files count once however many names they have, links by themselves, folders for nothing', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'tree-size-'));
  context.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'a/b'), { recursive: true });
  for (let index = 0; index < 150; index++) writeFileSync(join(folder, 'a/b', String(index)), '12345');
  writeFileSync(join(folder, 'one'), '1234567');
  linkSync(join(folder, 'one'), join(folder, 'a/two'));
  symlinkSync('/etc', join(folder, 'link'));
  assert.equal(await treeSize(folder), 150 * 5 + 7 + '/etc'.length);
  assert.equal(await treeSize(join(folder, 'absent')), 0);
  await assert.rejects(treeSize(folder, AbortSignal.abort(new Error('enough'))), /enough/);
});
