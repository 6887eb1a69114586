import { randomBytes } from 'node:crypto';
import { closeSync, constants, mkdirSync, openSync, readdirSync, renameSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FlotillaError, invalidField } from '@flotilla/errors';
import type { EventPublisher } from '@flotilla/events';
import { isErrno, nowUnixNano, openat2, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, syncfs } from '@flotilla/linux';
import type { Database } from '@flotilla/store';
import { volumeNotFound } from '../domain/errors.ts';
import type { VolumeRecord } from '../domain/volume.ts';

import { flushFolder } from './flush-folder.ts';
import { shred } from './shred.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import { workOnTrees } from './trees/tree-thread.ts';

/** A volume that a container wants. */
export interface VolumeWish {
  /** Empty for an anonymous one. */
  readonly name: string;
  readonly target: string;
  readonly noCopy: boolean;
}

const gonePrefix = '.gone-';
const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;

/** Named and anonymous volumes: `volumes/<name>/_data`. */
export class Volumes {
  readonly #folder: string;
  readonly #database: Database;
  readonly #publisher: EventPublisher;
  readonly #snapshots: SnapshotStore;
  /** Volumes that are being filled: a second container waits. */
  readonly #filling = new Map<string, Promise<void>>();

  constructor(root: string, database: Database, publisher: EventPublisher, snapshots: SnapshotStore) {
    this.#folder = join(root, 'volumes');
    this.#database = database;
    this.#publisher = publisher;
    this.#snapshots = snapshots;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    // A folder without a record is left alone: it is somebody's data, and it may be the records that were lost.
    for (const name of readdirSync(this.#folder)) if (name.startsWith(gonePrefix)) this.#shred(name);
    for (const { name } of this.list()) mkdirSync(this.path(name), { recursive: true, mode: 0o755 });
  }

  path(name: string): string {
    return join(this.#folder, name, '_data');
  }

  list(): VolumeRecord[] {
    const rows = this.#database.prepare('SELECT * FROM volumes ORDER BY name');
    rows.setReadBigInts(true);
    return (rows.all() as unknown as VolumeRow[]).map(fromRow);
  }

  find(name: string): VolumeRecord | undefined {
    const query = this.#database.prepare('SELECT * FROM volumes WHERE name = ?');
    query.setReadBigInts(true);
    const row = query.get(name) as unknown as VolumeRow | undefined;
    return row === undefined ? undefined : fromRow(row);
  }

  get(name: string): VolumeRecord {
    const volume = this.find(name);
    if (volume === undefined) throw volumeNotFound(name);
    return volume;
  }

  /** Makes a volume, or finds the one of that name. ALREADY_EXISTS / VOLUME_DIFFERS when it has other labels. */
  create(name: string, labels: Readonly<Record<string, string>>): VolumeRecord {
    if (name !== '' && !namePattern.test(name)) {
      throw invalidField('name', 'a letter or digit, then letters, digits, `_`, `.`, `-`, at most 255', name);
    }
    const there = name === '' ? undefined : this.find(name);
    if (there !== undefined) {
      if (JSON.stringify(sorted(there.labels)) === JSON.stringify(sorted(labels))) return there;
      throw new FlotillaError('already_exists', `volume ${name} is there with other labels`, {
        reason: 'VOLUME_DIFFERS',
        metadata: { name },
      });
    }
    return this.#make(name === '' ? randomBytes(32).toString('hex') : name, labels, name === '');
  }

  #make(name: string, labels: Readonly<Record<string, string>>, anonymous: boolean): VolumeRecord {
    mkdirSync(this.path(name), { recursive: true, mode: 0o755 });
    const createdAtUnixNano = nowUnixNano();
    return this.#database.transact(() => {
      this.#database
        .prepare('INSERT INTO volumes VALUES (?, ?, ?, ?, 0)')
        .run(name, JSON.stringify(labels), anonymous ? 1 : 0, createdAtUnixNano);
      this.#announce('create', name);
      return { name, labels, anonymous, createdAtUnixNano, filled: false };
    });
  }

  /** FAILED_PRECONDITION / VOLUME_IN_USE. */
  remove(name: string): void {
    const volume = this.get(name);
    const [user] = this.usersOf(name);
    if (user !== undefined) {
      throw new FlotillaError('failed_precondition', `volume ${name} is used by container ${user.slice(0, 12)}`, {
        reason: 'VOLUME_IN_USE',
        metadata: { name, containerId: user },
      });
    }
    this.#drop(volume.name);
  }

  /** Makes sure that a container's volumes are there, filled from its image on first use. Idempotent by key. */
  async prepare(key: string, wishes: readonly VolumeWish[]): Promise<{ name: string; path: string; target: string }[]> {
    const names = this.#assign(key, wishes);
    for (const [position, { target, noCopy }] of wishes.entries())
      await this.#fill(names[position]!, key, target, noCopy);
    return wishes.map(({ target }, position) => ({
      name: names[position]!,
      path: this.path(names[position]!),
      target,
    }));
  }

  #assign(key: string, wishes: readonly VolumeWish[]): string[] {
    const find = this.#database.prepare('SELECT name FROM volume_users WHERE key = ? AND position = ?');
    return this.#database.transact(() =>
      wishes.map(({ name }, position) => {
        const had = find.get(key, position) as { name: string } | undefined;
        if (had !== undefined) return had.name;
        const volume = (name === '' ? undefined : this.find(name)) ?? this.create(name, {});
        this.#database.prepare('INSERT INTO volume_users VALUES (?, ?, ?)').run(volume.name, key, position);
        return volume.name;
      }),
    );
  }

  /** Takes a container off its volumes. */
  release(key: string, removeAnonymous: boolean): void {
    const names = this.#database.prepare('SELECT name FROM volume_users WHERE key = ?').all(key);
    if (names.length === 0) return;
    this.#database.transact(() => {
      this.#database.prepare('DELETE FROM volume_users WHERE key = ?').run(key);
      for (const { name } of names as unknown as { name: string }[]) {
        const volume = this.find(name);
        if (removeAnonymous && volume?.anonymous === true && this.usersOf(name).length === 0) this.#drop(name);
      }
    });
  }

  async #fill(name: string, key: string, target: string, noCopy: boolean): Promise<void> {
    await this.#filling.get(name);
    if (noCopy || this.get(name).filled) return;
    const done = this.#database.prepare('UPDATE volumes SET filled = 1 WHERE name = ?');
    if (readdirSync(this.path(name)).length > 0) {
      done.run(name);
      return;
    }
    const filling = this.#copyUp(name, key, target).then(() => void done.run(name));
    this.#filling.set(name, filling);
    try {
      await filling;
    } finally {
      this.#filling.delete(name);
    }
  }

  /** Fills a fresh folder beside and swaps it in, so that a copy that was cut off is begun anew. */
  async #copyUp(name: string, key: string, target: string): Promise<void> {
    const root = this.#snapshots.openRoot(key);
    let from: number | undefined;
    try {
      from = openDirectory(root, target);
      if (from === undefined) return;
      const beside = join(this.#folder, name, 'filling');
      await rm(beside, { recursive: true, force: true });
      mkdirSync(beside, { mode: 0o755 });
      const to = openSync(beside, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        await workOnTrees('copy', from, to);
        syncfs(to);
      } finally {
        closeSync(to);
      }
      await rm(this.path(name), { recursive: true, force: true });
      renameSync(beside, this.path(name));
      flushFolder(join(this.#folder, name)); // before it is recorded as filled
    } finally {
      if (from !== undefined) closeSync(from);
      closeSync(root);
    }
  }

  /** Keys of the containers that use a volume. */
  usersOf(name: string): string[] {
    const rows = this.#database.prepare('SELECT DISTINCT key FROM volume_users WHERE name = ?').all(name);
    return (rows as unknown as { key: string }[]).map(({ key }) => key);
  }

  #drop(name: string): void {
    this.#database.transact(() => {
      this.#database.prepare('DELETE FROM volumes WHERE name = ?').run(name);
      this.#announce('destroy', name);
      // Before the commit: a crash may leave a volume empty, but never a new one of this name with the old data.
      const gone = `${gonePrefix}${randomBytes(8).toString('hex')}`;
      renameSync(join(this.#folder, name), join(this.#folder, gone));
      flushFolder(this.#folder);
      this.#database.afterCommit(() => this.#shred(gone));
    });
  }

  #announce(action: 'create' | 'destroy', name: string): void {
    this.#publisher.announce({
      type: 'volume',
      action,
      actorId: name,
      attributes: { driver: 'local' },
      timeUnixNano: nowUnixNano(),
    });
  }

  #shred(gone: string): void {
    void shred(join(this.#folder, gone)).catch(() => {}); // The next start tries again.
  }
}

function openDirectory(root: number, path: string): number | undefined {
  try {
    return openat2(root, path, {
      flags: constants.O_RDONLY | constants.O_DIRECTORY,
      resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined;
    throw error;
  }
}

interface VolumeRow {
  readonly name: string;
  readonly labels: string;
  readonly anonymous: bigint;
  readonly created_at_unix_nano: bigint;
  readonly filled: bigint;
}

function fromRow(row: VolumeRow): VolumeRecord {
  return {
    name: row.name,
    labels: JSON.parse(row.labels) as Record<string, string>,
    anonymous: row.anonymous !== 0n,
    createdAtUnixNano: row.created_at_unix_nano,
    filled: row.filled !== 0n,
  };
}

function sorted(labels: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}
