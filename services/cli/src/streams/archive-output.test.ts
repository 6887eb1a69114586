import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openArchiveOutput } from './archive-output.ts';

const folder = mkdtempSync(join(tmpdir(), 'archive-output-'));
after(() => rmSync(folder, { recursive: true }));
const bytes = (text: string) => Buffer.from(text);

/** An archive that breaks off after `first` and is begun again. */
async function writeTwice(path: string, first: string, again: readonly string[]): Promise<void> {
  await using output = await openArchiveOutput(path);
  await output.write(bytes(first));
  output.startAgain();
  for (const piece of again) await output.write(bytes(piece));
  await output.finish();
}

test('an archive that is begun again goes on where it broke off', async () => {
  const path = join(folder, 'whole');
  await writeTwice(path, 'abcdef', ['abc', 'defgh', 'i']);
  assert.equal(readFileSync(path, 'utf8'), 'abcdefghi');
});

for (const [what, again] of [
  ['another', ['abcxefgh']],
  ['a shorter one', ['abc']],
  ['nothing', []],
] as const) {
  test(`one that is ${what} the second time is refused, and leaves no file`, async () => {
    const path = join(folder, what);
    await assert.rejects(writeTwice(path, 'abcdef', again), { reason: 'IMAGE_CHANGED', code: 'aborted' });
    assert.ok(!existsSync(path));
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('.')),
      [],
    );
  });
}
