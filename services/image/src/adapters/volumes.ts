import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, constants, mkdirSync, readdirSync, realpathSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FlotillaError, invalidField } from '@flotilla/errors';
import type { EventPublisher } from '@flotilla/events';
import { isErrno, nowUnixNano, openat2, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from '@flotilla/linux';
import type { Database } from '@flotilla/store';
import { volumeNotFound } from '../domain/errors.ts';
import type { VolumeRecord, VolumeWish } from '../domain/volume.ts';
import { parseVolumeOptions } from '../domain/volume-options.ts';
import { VolumeStore } from '../store/volume-store.ts';
import { fillMounted, fillVolume, finishFilling, isToBeFilled } from './fill-volume.ts';
import { flushFolder } from './flush-folder.ts';
import { unmountAll } from './mount-points.ts';
import { shred } from './shred.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import { VolumeMounts } from './volume-mounts.ts';

type Pairs = Readonly<Record<string, string>>;

/** A volume to make. */
export interface NewVolume {
  /** Empty for an anonymous one. */
  readonly name: string;
  readonly labels: Pairs;
  readonly options: Pairs;
}

const gonePrefix = '.gone-';
const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;

/** Named and anonymous volumes: `volumes/<name>/_data`. */
export class Volumes {
  readonly mounts: VolumeMounts;
  readonly #folder: string;
  readonly #database: Database;
  readonly #store: VolumeStore;
  readonly #publisher: EventPublisher;
  readonly #snapshots: SnapshotStore;
  /** Volumes that are being filled: a second container waits. */
  readonly #filling = new Map<string, Promise<void>>();

  constructor(root: string, database: Database, publisher: EventPublisher, snapshots: SnapshotStore) {
    const folder = join(root, 'volumes');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    // As the kernel names it in its list of mounts.
    this.#folder = realpathSync(folder);
    this.#database = database;
    this.#store = new VolumeStore(database);
    this.#publisher = publisher;
    this.#snapshots = snapshots;
    this.mounts = new VolumeMounts({ database, store: this.#store, publisher, path: (name) => this.path(name) });
    this.mounts.unmountLeftovers();
    // A folder without a record is left alone: it is somebody's data, and it may be the records that were lost.
    for (const name of readdirSync(this.#folder).filter((one) => one.startsWith(gonePrefix))) {
      unmountAll(join(this.#folder, name));
      this.#shred(name);
    }
    for (const { name } of this.list()) {
      if (!this.mounts.isBusy(name)) this.#makeFolder(name);
    }
  }

  path(name: string): string {
    return join(this.#folder, name, '_data');
  }

  list(): VolumeRecord[] {
    return this.#store.list();
  }

  /** Names of those that some container refers to. */
  used(): ReadonlySet<string> {
    return this.#store.used();
  }

  /** Keys of the containers that use a volume. */
  usersOf(name: string): string[] {
    return this.#store.usersOf(name);
  }

  /** NOT_FOUND / VOLUME_NOT_FOUND. */
  get(name: string): VolumeRecord {
    const volume = this.#store.find(name);
    if (volume === undefined) throw volumeNotFound(name);
    return volume;
  }

  /** Makes a volume, or finds the one of that name. ALREADY_EXISTS / VOLUME_DIFFERS when it has other labels or options. */
  create({ name, labels, options }: NewVolume): VolumeRecord {
    if (name !== '' && !namePattern.test(name)) {
      throw invalidField('name', 'a letter or digit, then letters, digits, `_`, `.`, `-`, at most 255', name);
    }
    parseVolumeOptions(options, 'options');
    const there = name === '' ? undefined : this.#store.find(name);
    if (there !== undefined) {
      if (isSame(there.labels, labels) && isSame(there.options, options)) return there;
      throw new FlotillaError('already_exists', `volume ${name} is there with other labels or options`, {
        reason: 'VOLUME_DIFFERS',
        metadata: { name },
      });
    }
    const anonymous = name === '';
    const createdAtUnixNano = nowUnixNano();
    return this.#make({ name: name || randomBytes(32).toString('hex'), labels, options, anonymous, createdAtUnixNano });
  }

  /** Open to every user of a container, whatever the service's umask; one that is there may have been given other rights. */
  #makeFolder(name: string): void {
    if (mkdirSync(this.path(name), { recursive: true }) !== undefined) chmodSync(this.path(name), 0o755);
  }

  #make(volume: VolumeRecord): VolumeRecord {
    this.#makeFolder(volume.name);
    this.#database.transact(() => {
      this.#store.add(volume);
      this.#announce('create', volume.name);
    });
    return volume;
  }

  /** FAILED_PRECONDITION / VOLUME_IN_USE. */
  remove(name: string): void {
    this.get(name);
    const [user] = this.#store.usersOf(name);
    if (user !== undefined || this.mounts.isBusy(name)) {
      const by = user === undefined ? 'by the engine' : `by container ${user.slice(0, 12)}`;
      throw new FlotillaError('failed_precondition', `volume ${name} is used ${by}`, {
        reason: 'VOLUME_IN_USE',
        metadata: { name, containerId: user ?? '' },
      });
    }
    this.#drop(name);
  }

  /** Keeps the volumes among some folders, mounted if they have options, until it is disposed. */
  async holdAt(paths: readonly string[]): Promise<Disposable> {
    using held = new DisposableStack();
    for (const path of paths) {
      const name = basename(dirname(path));
      if (path === this.path(name) && this.#store.find(name) !== undefined) held.use(await this.mounts.hold(name));
    }
    return held.move();
  }

  /** Makes sure that a container's volumes are there, filled from its image while they are empty. Idempotent by key. */
  async prepare(key: string, wishes: readonly VolumeWish[]): Promise<{ name: string; path: string; target: string }[]> {
    const names = this.#assign(key, wishes);
    for (const [position, { target, noCopy }] of wishes.entries())
      if (!noCopy) await this.#fill(names[position]!, key, target);
    return wishes.map(({ target }, position) => ({
      name: names[position]!,
      path: this.path(names[position]!),
      target,
    }));
  }

  #assign(key: string, wishes: readonly VolumeWish[]): string[] {
    return this.#database.transact(() =>
      wishes.map(({ name, options, labels, inherited }, position) => {
        const had = this.#store.assigned(key, position);
        if (had !== undefined) return had;
        const there = name === '' ? undefined : this.#store.find(name);
        if (there === undefined && inherited) throw volumeNotFound(name);
        const volume = there ?? this.create({ name, labels, options });
        this.#store.assign(volume.name, key, position, name !== '' && !inherited);
        return volume.name;
      }),
    );
  }

  /** Takes a container off its volumes; with its anonymous ones, unless it asked for them by name. */
  async release(key: string, removeAnonymous: boolean): Promise<void> {
    await this.mounts.unmount(key);
    const volumes = this.#store.volumesOf(key);
    if (volumes.length === 0) return;
    this.#database.transact(() => {
      this.#store.forget(key);
      for (const { name, byName } of volumes) {
        if (!removeAnonymous || byName || this.#store.find(name)?.anonymous !== true) continue;
        if (this.#store.usersOf(name).length === 0 && !this.mounts.isBusy(name)) this.#drop(name);
      }
    });
  }

  async #fill(name: string, key: string, target: string): Promise<void> {
    for (let others = this.#filling.get(name); others !== undefined; others = this.#filling.get(name)) {
      await others.catch(() => {}); // That is the other container's to tell.
    }
    const filling = this.#copyUp(name, key, target);
    this.#filling.set(name, filling);
    try {
      await filling;
    } finally {
      this.#filling.delete(name);
    }
  }

  async #copyUp(name: string, key: string, target: string): Promise<void> {
    const volume = { folder: join(this.#folder, name), data: this.path(name) };
    const isPlain = Object.keys(this.get(name).options).length === 0;
    if (isPlain && !isToBeFilled(volume)) return;
    const root = this.#snapshots.openRoot(key);
    let from: number | undefined;
    try {
      from = openDirectory(root, target);
      if (from === undefined) return void (await finishFilling(volume));
      const source = from;
      await this.mounts.withMounted(name, (device) =>
        device === undefined ? fillVolume(source, volume) : fillMounted(source, volume.data),
      );
    } finally {
      if (from !== undefined) closeSync(from);
      closeSync(root);
    }
  }

  #drop(name: string): void {
    this.#database.transact(() => {
      this.#store.remove(name);
      this.#announce('destroy', name);
      // What is mounted is not the volume's own, and must not be shredded with it.
      unmountAll(this.path(name));
      // Before the commit: a crash may leave a volume empty, but never a new one of this name with the old data.
      const gone = `${gonePrefix}${randomBytes(8).toString('hex')}`;
      renameSync(join(this.#folder, name), join(this.#folder, gone));
      flushFolder(this.#folder);
      this.#database.afterCommit(() => this.#shred(gone));
    });
  }

  #announce(action: 'create' | 'destroy', name: string): void {
    const attributes = { driver: 'local' };
    this.#publisher.announce({ type: 'volume', action, actorId: name, attributes, timeUnixNano: nowUnixNano() });
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

function isSame(a: Pairs, b: Pairs): boolean {
  const entries = Object.entries(a);
  return entries.length === Object.keys(b).length && entries.every(([key, value]) => b[key] === value);
}
