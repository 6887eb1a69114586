import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { checkSchema, openDatabase } from './database.ts';
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

test('whether a database is too new can be asked while it is in use, and changes nothing', () => {
  const path = join(folder, 'a.db');
  checkSchema(path, [notes]);
  using inUse = openDatabase(path, { migrations: [notes, outboxMigration], durable: false });
  checkSchema(path, [notes, outboxMigration]);
  checkSchema(path, [notes, outboxMigration, 'CREATE TABLE later (x) STRICT']);
  assert.throws(() => checkSchema(path, [notes]), {
    reason: 'DATABASE_NEWER',
    message: /schema 2, this release knows 1.*run that release/,
    metadata: { path, schema: '2', known: '1' },
  });
  assert.equal((inUse.prepare('PRAGMA user_version').get() as { user_version: number }).user_version, 2);
});

test('a migration leaves a copy that the older release still runs on, and one that fails leaves all as it was', () => {
  const path = join(folder, 'a.db');
  const older = { migrations: [notes], durable: true };
  {
    using first = openDatabase(path, older);
    first.prepare('INSERT INTO notes VALUES (?)').run('kept');
  }
  const half = [notes, 'ALTER TABLE notes ADD COLUMN more TEXT; CREATE TABLE notes (text TEXT) STRICT'];
  assert.throws(() => openDatabase(path, { migrations: half, durable: true }), /already exists/);
  openDatabase(path, older)[Symbol.dispose]();
  openDatabase(path, { migrations: [notes, outboxMigration], durable: true })[Symbol.dispose]();
  assert.throws(() => openDatabase(path, older), { reason: 'DATABASE_NEWER' });
  using copy = openDatabase(`${path}.schema-1`, older);
  assert.deepEqual({ ...copy.prepare('SELECT text FROM notes').get() }, { text: 'kept' });
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
