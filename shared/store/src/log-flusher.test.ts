import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDatabase } from './database.ts';
import { LogFlusher } from './log-flusher.ts';

test('flushes what was committed, as often as asked, and those who wait share one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flush-'));
  try {
    const path = join(folder, 'db');
    using database = openDatabase(path, { migrations: ['CREATE TABLE t (n INTEGER)'], durable: false });
    using flusher = new LogFlusher(`${path}-wal`);
    for (let n = 0; n < 3; n++) {
      database.exec(`INSERT INTO t VALUES (${n})`);
      await flusher.flush();
    }
    const first = flusher.flush();
    const second = flusher.flush();
    await Promise.resolve();
    const third = flusher.flush();
    // The first has begun or not: whoever came before it began shares it.
    assert.equal(first, second);
    await Promise.all([first, second, third]);
    await flusher.flush();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a log that is not there fails every flush, and the next one tries again', async () => {
  using flusher = new LogFlusher('/nonexistent/db-wal');
  await assert.rejects(flusher.flush(), { code: 'ENOENT' });
  await assert.rejects(flusher.flush(), { code: 'ENOENT' });
});
