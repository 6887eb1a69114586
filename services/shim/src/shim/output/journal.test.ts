import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { closeFd, pipe2, writeFd } from '@flotilla/linux';
import { Journal } from './journal.ts';

const fileBytes = 4096;
const root = mkdtempSync(join(tmpdir(), 'fl-journal-'));
const pipe = pipe2();
after(() => {
  rmSync(root, { recursive: true });
  for (const fd of [pipe.readFd, pipe.writeFd]) closeFd(fd);
});

function folder(name: string): string {
  const dir = join(root, name);
  mkdirSync(dir);
  return dir;
}

/** Puts so many bytes of one letter through the pipe. */
function fill(journal: Journal, letter: string, bytes = fileBytes): void {
  writeFd(pipe.writeFd, Buffer.alloc(bytes, letter));
  assert.equal(journal.fill(pipe.readFd), bytes);
}

function text(journal: Journal, from: number): string {
  const buffer = Buffer.alloc(journal.end - from);
  assert.equal(journal.read(from, buffer), buffer.length);
  return buffer.toString();
}

test('one that goes on has what the other had, and knows where it stood', () => {
  const dir = folder('goes-on');
  const first = new Journal(dir, 'stdout', fileBytes);
  for (const letter of 'abcde') fill(first, letter);
  fill(first, 'f', 10);
  using second = new Journal(dir, 'stdout', fileBytes);
  assert.deepEqual([second.begin, second.end], [first.begin, first.end]);
  assert.equal(text(second, second.begin), text(first, first.begin));
  first[Symbol.dispose]();
});

for (const [what, letters] of [
  ['be made', 'a'],
  ['be used again', 'abc'],
] as const) {
  test(`when the next file cannot ${what}, nothing that was read is lost, now or for one that takes over`, () => {
    const dir = folder(what.replaceAll(' ', '-'));
    using journal = new Journal(dir, 'stdout', fileBytes);
    for (const letter of letters) fill(journal, letter);
    const last = letters.at(-1)!;
    const from = journal.end - fileBytes;
    writeFd(pipe.writeFd, Buffer.from('next'));
    renameSync(dir, `${dir}.away`);
    for (let attempt = 0; attempt < 3; attempt++) {
      assert.throws(() => journal.fill(pipe.readFd), { code: 'ENOENT' });
      assert.equal(text(journal, from), last.repeat(fileBytes));
    }
    renameSync(`${dir}.away`, dir);
    {
      using other = new Journal(dir, 'stdout', fileBytes);
      assert.equal(text(other, from), last.repeat(fileBytes));
    }
    assert.equal(journal.fill(pipe.readFd), 4);
    assert.equal(text(journal, from), `${last.repeat(fileBytes)}next`);
    for (const letter of 'xyz') fill(journal, letter);
    assert.ok(readdirSync(dir).length <= 3);
    using other = new Journal(dir, 'stdout', fileBytes);
    assert.equal(text(other, other.begin), text(journal, journal.begin));
    assert.equal(readdirSync(dir).length, 2);
  });
}
