import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { openDatabase } from './database.ts';
import { Outbox, outboxMigration } from './outbox.ts';

const notes = 'CREATE TABLE notes (text TEXT NOT NULL UNIQUE) STRICT';
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flotilla-store-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

test('migrations run once, in order, and later ones are added', () => {
  const path = join(folder, 'a.db');
  {
    using first = openDatabase(path, { migrations: [notes], durable: false });
    first.prepare('INSERT INTO notes VALUES (?)').run('kept');
  }
  using second = openDatabase(path, {
    migrations: [notes, 'ALTER TABLE notes ADD COLUMN more TEXT'],
    durable: false,
  });
  assert.deepEqual({ ...second.prepare('SELECT text, more FROM notes').get() }, { text: 'kept', more: null });
});

test('older code refuses a newer database and leaves it as it is', () => {
  const path = join(folder, 'a.db');
  openDatabase(path, { migrations: [notes, outboxMigration], durable: false })[Symbol.dispose]();
  assert.throws(() => openDatabase(path, { migrations: [notes], durable: false }), { reason: 'DATABASE_NEWER' });
  openDatabase(path, { migrations: [notes, outboxMigration], durable: false })[Symbol.dispose]();
});

test('a transaction that throws leaves nothing, neither the state nor its event', () => {
  using database = openDatabase(join(folder, 'a.db'), { migrations: [notes, outboxMigration], durable: true });
  const outbox = new Outbox(database);
  let calls = 0;
  outbox.onAdded(() => calls++);
  assert.throws(
    () =>
      database.transact(() => {
        database.prepare('INSERT INTO notes VALUES (?)').run('lost');
        outbox.add({ eventId: '1', subject: 's', payload: '{}' });
        throw new Error('stop');
      }),
    /stop/,
  );
  assert.equal(outbox.count(), 0);
  assert.equal(calls, 0);
  assert.equal(database.prepare('SELECT * FROM notes').all().length, 0);
});

test('the outbox gives its rows in order and forgets what was delivered', () => {
  using database = openDatabase(join(folder, 'a.db'), { migrations: [outboxMigration], durable: false });
  const outbox = new Outbox(database);
  let calls = 0;
  outbox.onAdded(() => calls++);
  database.transact(() => {
    for (const eventId of ['a', 'b', 'c']) outbox.add({ eventId, subject: 's', payload: eventId });
  });
  assert.equal(calls, 3);
  const rows = outbox.oldest(2);
  assert.deepEqual(
    rows.map(({ eventId }) => eventId),
    ['a', 'b'],
  );
  outbox.removeThrough(rows[1]!.sequence);
  assert.deepEqual(
    outbox.oldest(9).map(({ eventId }) => eventId),
    ['c'],
  );
});
