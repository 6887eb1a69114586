import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkFolder, checkKernel } from './host-checks.ts';

const kernels: readonly (readonly [release: string, status: string])[] = [
  ['4.19.0-26-amd64', 'problem'],
  ['5.11.22', 'problem'],
  ['5.12.0', 'ok'],
  ['5.15.0-91-generic', 'ok'],
  ['6.1.0-18-amd64', 'ok'],
  ['nonsense', 'problem'],
];
for (const [release, status] of kernels) {
  test(`kernel ${release}: ${status}`, () => assert.equal(checkKernel(release).status, status));
}

const folder = mkdtempSync('/tmp/fl-doctor-');
after(() => rmSync(folder, { recursive: true }));

test('a folder that others may enter is a problem, and it is said how to mend it', () => {
  chmodSync(folder, 0o755);
  assert.deepEqual(checkFolder(folder), {
    name: folder,
    status: 'problem',
    found: 'mode 755: others may enter',
    mend: `chmod 0700 ${folder}`,
  });
  chmodSync(folder, 0o700);
  assert.equal(checkFolder(folder).status, 'ok');
});

test('a folder that is missing is a warning, a file in its place a problem', () => {
  assert.equal(checkFolder(join(folder, 'none')).status, 'warning');
  writeFileSync(join(folder, 'file'), '');
  assert.equal(checkFolder(join(folder, 'file')).status, 'problem');
});
