import type { StatementSync } from 'node:sqlite';
import type { Database } from './database.ts';

/** Table of what is to be announced: a migration of each database that has an outbox. */
export const outboxMigration = `
  CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL,
    payload TEXT NOT NULL
  ) STRICT;
`;

export interface OutboxEntry {
  /** Unique for ever. */
  readonly eventId: string;
  /** NATS subject. */
  readonly subject: string;
  /** JSON. */
  readonly payload: string;
}

export interface OutboxRow extends OutboxEntry {
  /** Order of writing, strictly increasing. */
  readonly sequence: number;
}

/** Events that are written with the state change they tell of, in one transaction, and go once NATS has them. */
export class Outbox {
  readonly #database: Database;
  readonly #insert: StatementSync;
  readonly #oldest: StatementSync;
  readonly #delete: StatementSync;
  readonly #count: StatementSync;
  readonly #listeners: (() => void)[] = [];

  constructor(database: Database) {
    this.#database = database;
    this.#insert = database.prepare(
      'INSERT INTO outbox (event_id, subject, payload) VALUES (?, ?, ?) ON CONFLICT (event_id) DO NOTHING',
    );
    this.#oldest = database.prepare(
      'SELECT sequence, event_id AS eventId, subject, payload FROM outbox ORDER BY sequence LIMIT ?',
    );
    this.#delete = database.prepare('DELETE FROM outbox WHERE sequence <= ?');
    this.#count = database.prepare('SELECT count(*) AS count FROM outbox');
  }

  /** Call it in the transaction of the state change. An event that waits already is not added again. */
  add({ eventId, subject, payload }: OutboxEntry): void {
    this.#insert.run(eventId, subject, payload);
    this.#database.afterCommit(() => {
      for (const listener of this.#listeners) listener();
    });
  }

  /** The oldest so many, in order. */
  oldest(limit: number): OutboxRow[] {
    return this.#oldest.all(limit) as unknown as OutboxRow[];
  }

  /** Forgets all up to and including a sequence: NATS has them. */
  removeThrough(sequence: number): void {
    this.#delete.run(sequence);
  }

  /** How many wait. */
  count(): number {
    return (this.#count.get() as { count: number }).count;
  }

  /** Calls back after each commit that added something. */
  onAdded(listener: () => void): void {
    this.#listeners.push(listener);
  }
}
