import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { closeFd, poll, readFd } from './descriptors.ts';
import { watchFile } from './inotify.ts';

const POLLIN = 1;

test('a watched file that has changed gives something to read', () => {
  const folder = mkdtempSync(join(tmpdir(), 'inotify-'));
  const path = join(folder, 'file');
  writeFileSync(path, '');
  const fd = watchFile(path);
  try {
    assert.equal(readFd(fd, Buffer.alloc(4096)), undefined);
    writeFileSync(path, 'new', { flag: 'a' });
    assert.deepEqual(poll([{ fd, events: POLLIN }], 1000), [POLLIN]);
    assert.ok(readFd(fd, Buffer.alloc(4096))! > 0);
    assert.throws(() => watchFile(join(folder, 'none')), { code: 'ENOENT' });
  } finally {
    closeFd(fd);
    rmSync(folder, { recursive: true });
  }
});
