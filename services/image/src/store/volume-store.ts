import type { Database } from '@flotilla/store';
import type { VolumeRecord } from '../domain/volume.ts';

/** Volumes, who refers to them, and who runs with them. */
export class VolumeStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By name. */
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

  add({ name, labels, options, anonymous, createdAtUnixNano }: VolumeRecord): void {
    this.#database
      .prepare('INSERT INTO volumes (name, labels, anonymous, created_at_unix_nano, options) VALUES (?, ?, ?, ?, ?)')
      .run(name, JSON.stringify(labels), anonymous ? 1 : 0, createdAtUnixNano, JSON.stringify(options));
  }

  remove(name: string): void {
    this.#database.prepare('DELETE FROM volumes WHERE name = ?').run(name);
  }

  /** The volume that a container has at a position of its list. */
  assigned(key: string, position: number): string | undefined {
    const query = this.#database.prepare('SELECT name FROM volume_users WHERE key = ? AND position = ?');
    return (query.get(key, position) as { name: string } | undefined)?.name;
  }

  assign(name: string, key: string, position: number, byName: boolean): void {
    this.#database
      .prepare('INSERT INTO volume_users (name, key, position, by_name) VALUES (?, ?, ?, ?)')
      .run(name, key, position, byName ? 1 : 0);
  }

  /** Containers that refer to a volume. */
  usersOf(name: string): string[] {
    const rows = this.#database.prepare('SELECT DISTINCT key FROM volume_users WHERE name = ?').all(name);
    return (rows as unknown as { key: string }[]).map(({ key }) => key);
  }

  /** All volumes that some container refers to. */
  used(): Set<string> {
    const rows = this.#database.prepare('SELECT DISTINCT name FROM volume_users').all();
    return new Set((rows as unknown as { name: string }[]).map(({ name }) => name));
  }

  /** Volumes that a container refers to, and whether it asked for each by its name. */
  volumesOf(key: string): { readonly name: string; readonly byName: boolean }[] {
    const rows = this.#database
      .prepare('SELECT name, max(by_name) AS by_name FROM volume_users WHERE key = ? GROUP BY name')
      .all(key) as unknown as { name: string; by_name: number }[];
    return rows.map(({ name, by_name }) => ({ name, byName: by_name !== 0 }));
  }

  forget(key: string): void {
    this.#database.prepare('DELETE FROM volume_users WHERE key = ?').run(key);
  }

  /** Notes that a container is about to run with a volume; told twice, the second time changes nothing. */
  beginMount(key: string, position: number, name: string): void {
    this.#database.prepare('INSERT OR IGNORE INTO volume_mounts VALUES (?, ?, ?, 0)').run(key, position, name);
  }

  /** False when that was noted before. */
  finishMount(key: string, position: number): boolean {
    const update = this.#database.prepare(
      'UPDATE volume_mounts SET mounted = 1 WHERE key = ? AND position = ? AND mounted = 0',
    );
    return update.run(key, position).changes > 0;
  }

  /** What a container runs with, in order. */
  mountsOf(key: string): { readonly name: string; readonly mounted: boolean }[] {
    const rows = this.#database
      .prepare('SELECT name, mounted FROM volume_mounts WHERE key = ? ORDER BY position')
      .all(key) as unknown as { name: string; mounted: number }[];
    return rows.map(({ name, mounted }) => ({ name, mounted: mounted !== 0 }));
  }

  endMounts(key: string): void {
    this.#database.prepare('DELETE FROM volume_mounts WHERE key = ?').run(key);
  }

  isMounted(name: string): boolean {
    return this.#database.prepare('SELECT 1 FROM volume_mounts WHERE name = ? LIMIT 1').get(name) !== undefined;
  }

  /** Whether some container has it mounted for certain, not only asked for it. */
  isMountedWhole(name: string): boolean {
    const statement = this.#database.prepare('SELECT 1 FROM volume_mounts WHERE name = ? AND mounted = 1 LIMIT 1');
    return statement.get(name) !== undefined;
  }

  /** Containers that run with volumes. */
  mountKeys(): string[] {
    const rows = this.#database.prepare('SELECT DISTINCT key FROM volume_mounts').all();
    return (rows as unknown as { key: string }[]).map(({ key }) => key);
  }
}

interface VolumeRow {
  readonly name: string;
  readonly labels: string;
  readonly anonymous: bigint;
  readonly created_at_unix_nano: bigint;
  readonly options: string;
}

function fromRow(row: VolumeRow): VolumeRecord {
  return {
    name: row.name,
    labels: JSON.parse(row.labels) as Record<string, string>,
    options: JSON.parse(row.options) as Record<string, string>,
    anonymous: row.anonymous !== 0n,
    createdAtUnixNano: row.created_at_unix_nano,
  };
}
