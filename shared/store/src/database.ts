import { existsSync, rmSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { FlotillaError } from '@flotilla/errors';

export interface DatabaseOptions {
  /** SQL scripts in order; the number of those that ran is kept in the file. They are only ever added to. */
  readonly migrations: readonly string[];
  /** What was acknowledged survives power loss (a flush a commit); otherwise it survives the process alone. */
  readonly durable: boolean;
}

/**
 * Whether this release may work on a database, without changing it: FAILED_PRECONDITION / DATABASE_NEWER when a newer one
 * has written it. A database that is not there yet is fine.
 */
export function checkSchema(path: string, migrations: readonly string[]): void {
  if (!existsSync(path)) return;
  const sqlite = new DatabaseSync(path, { timeout: 5_000, readOnly: true });
  try {
    refuseNewer(schemaOf(sqlite), migrations, path);
  } finally {
    sqlite.close();
  }
}

/**
 * Opens a database in WAL mode and brings it up to date; a copy of what was is left beside it, `<path>.schema-<N>`. FAILED_PRECONDITION / DATABASE_NEWER when a newer release has
 * written it: older code must not run on it.
 */
export function openDatabase(path: string, { migrations, durable }: DatabaseOptions): Database {
  const sqlite = new DatabaseSync(path, { timeout: 5_000, enableForeignKeyConstraints: true });
  sqlite.exec(
    `PRAGMA journal_mode = WAL; PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}; PRAGMA busy_timeout = 5000`,
  );
  const database = new Database(sqlite);
  try {
    migrate(database, migrations, path);
  } catch (error) {
    database[Symbol.dispose]();
    throw error;
  }
  return database;
}

function migrate(database: Database, migrations: readonly string[], path: string): void {
  const done = schemaOf(database);
  refuseNewer(done, migrations, path);
  if (done === migrations.length) return;
  if (done > 0) keepCopy(database, `${path}.schema-${done}`);
  database.transact(() => {
    for (const script of migrations.slice(done)) database.exec(script);
    database.exec(`PRAGMA user_version = ${migrations.length}`);
  });
}

/** What an older release can go back to: it refuses what a newer one has written. VACUUM INTO wants a new file. */
function keepCopy(database: Database, path: string): void {
  rmSync(path, { force: true });
  database.prepare('VACUUM INTO ?').run(path);
}

function schemaOf(database: { prepare(sql: string): StatementSync }): number {
  return (database.prepare('PRAGMA user_version').get() as { user_version: number }).user_version;
}

function refuseNewer(done: number, { length: known }: readonly string[], path: string): void {
  if (done <= known) return;
  throw new FlotillaError(
    'failed_precondition',
    `${path} was written by a newer release (schema ${done}, this release knows ${known}): run that release, or put the copy from before the upgrade, ${path}.schema-N, in its place`,
    { reason: 'DATABASE_NEWER', metadata: { path, schema: String(done), known: String(known) } },
  );
}

/** One SQLite connection, used synchronously: nothing else can run in the middle of a transaction. */
export class Database implements Disposable {
  readonly #sqlite: DatabaseSync;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  #committed: (() => void)[] = [];

  constructor(sqlite: DatabaseSync) {
    this.#sqlite = sqlite;
    this.#begin = sqlite.prepare('BEGIN IMMEDIATE');
    this.#commit = sqlite.prepare('COMMIT');
    this.#rollback = sqlite.prepare('ROLLBACK');
  }

  prepare(sql: string): StatementSync {
    return this.#sqlite.prepare(sql);
  }

  /** Runs a script of several statements. */
  exec(sql: string): void {
    this.#sqlite.exec(sql);
  }

  /** All of the work or nothing. Within a transaction it joins that one. */
  transact<T>(work: () => T): T {
    if (this.#sqlite.isTransaction) return work();
    this.#begin.run();
    let result: T;
    try {
      result = work();
      this.#commit.run();
    } catch (error) {
      this.#committed = [];
      if (this.#sqlite.isTransaction) this.#rollback.run();
      throw error;
    }
    const callbacks = this.#committed;
    this.#committed = [];
    for (const callback of callbacks) callback();
    return result;
  }

  /** Calls back once the current transaction is committed; at once outside of one. */
  afterCommit(callback: () => void): void {
    if (this.#sqlite.isTransaction) this.#committed.push(callback);
    else callback();
  }

  [Symbol.dispose](): void {
    if (this.#sqlite.isOpen) this.#sqlite.close();
  }
}
