import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { invalidField } from '@flotilla/errors';
import {
  isErrno,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_RDONLY,
  openat2,
  openFileSystem,
  openTree,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  setMountAttributes,
} from '@flotilla/linux';
import { snapshotNotFound } from '../domain/errors.ts';
import type { ImageStore } from '../store/image-store.ts';
import type { LayerStore } from './layer-store.ts';
import { shred } from './shred.ts';

/** A mount as mount(2) takes it. */
export interface MountDescription {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

export interface SnapshotMounts {
  readonly mounts: readonly MountDescription[];
  /** Uppermost first. */
  readonly layerPaths: readonly string[];
  readonly upperPath: string;
}

const largestFile = 1 << 20;
const keyPattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
const inRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/**
 * Writable snapshots: `snapshots/<key>` holds `fs`, overlayfs's `work`, and `image`, a link that says the image id. The
 * folder is the record: it is made beside and renamed, so one that is there is whole.
 */
export class SnapshotStore {
  readonly #folder: string;
  readonly #trash: string;
  readonly #images: ImageStore;
  readonly #layers: LayerStore;
  /** Image id by key. */
  readonly #keys = new Map<string, string>();

  constructor(root: string, images: ImageStore, layers: LayerStore) {
    this.#folder = join(root, 'snapshots');
    this.#trash = join(root, 'trash');
    this.#images = images;
    this.#layers = layers;
    for (const folder of [this.#folder, this.#trash]) mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#trash)) this.#shred(join(this.#trash, name));
    for (const key of readdirSync(this.#folder)) {
      if (key.startsWith('.')) this.#discard(key);
      else this.#keys.set(key, readlinkSync(join(this.#folder, key, 'image')));
    }
  }

  /** Makes a snapshot on an image, or finds the one that is there. */
  prepare(key: string, imageId: string): SnapshotMounts {
    checkKey(key);
    if (!this.#keys.has(key)) this.#make(key, this.#images.get(imageId).imageId);
    return this.mounts(key);
  }

  #make(key: string, imageId: string): void {
    const fresh = join(this.#folder, `.${key}`);
    if (existsSync(fresh)) this.#discard(`.${key}`);
    mkdirSync(join(fresh, 'work'), { recursive: true, mode: 0o700 });
    const upper = join(fresh, 'fs');
    mkdirSync(upper, { mode: 0o755 });
    // The root of an overlay looks as its upper directory does.
    const top = this.#images.get(imageId).chainIds.at(-1);
    const { mode, uid, gid } = top === undefined ? { mode: 0o755, uid: 0, gid: 0 } : statSync(this.#layers.path(top));
    if (uid !== 0 || gid !== 0) chownSync(upper, uid, gid);
    chmodSync(upper, mode & 0o7777);
    symlinkSync(imageId, join(fresh, 'image'));
    renameSync(fresh, join(this.#folder, key));
    this.#keys.set(key, imageId);
  }

  /** NOT_FOUND / SNAPSHOT_NOT_FOUND. */
  mounts(key: string): SnapshotMounts {
    const { chainIds } = this.#images.get(this.imageOf(key));
    const upperPath = join(this.#folder, key, 'fs');
    const layerPaths = chainIds.map((chainId) => this.#layers.path(chainId)).reverse();
    if (layerPaths.length === 0) {
      return { mounts: [{ type: 'bind', source: upperPath, options: ['rbind', 'rw'] }], layerPaths, upperPath };
    }
    const options = [
      `lowerdir=${layerPaths.join(':')}`,
      `upperdir=${upperPath}`,
      `workdir=${join(this.#folder, key, 'work')}`,
    ];
    return { mounts: [{ type: 'overlay', source: 'overlay', options }], layerPaths, upperPath };
  }

  imageOf(key: string): string {
    const imageId = this.#keys.get(key);
    if (imageId === undefined) throw snapshotNotFound(key);
    return imageId;
  }

  /** A snapshot that is not there is no error. */
  remove(key: string): void {
    if (!this.#keys.delete(key)) return;
    this.#discard(key);
  }

  keys(): string[] {
    return [...this.#keys.keys()];
  }

  /** Keys of the snapshots on an image. */
  usersOf(imageId: string): string[] {
    return [...this.#keys].filter(([, id]) => id === imageId).map(([key]) => key);
  }

  /** Opens what a container would see as its root, read-only, as a mount that nobody else sees. */
  openRoot(key: string): number {
    const { layerPaths, upperPath } = this.mounts(key);
    return openLayers([upperPath, ...layerPaths]);
  }

  /** A regular file of at most 1 MiB, undefined when there is none. Links are followed within the root. */
  readFile(key: string, path: string): Buffer | undefined {
    const root = this.openRoot(key);
    try {
      return readRegular(root, path);
    } finally {
      closeSync(root);
    }
  }

  #discard(name: string): void {
    const gone = join(this.#trash, randomUUID());
    renameSync(join(this.#folder, name), gone);
    this.#shred(gone);
  }

  #shred(path: string): void {
    void shred(path).catch(() => {}); // The next start tries again.
  }
}

/**
 * Opens folders over one another, uppermost first, as a read-only mount that nobody else sees and whose devices cannot be
 * opened. fsconfig(2) takes values of at most 255 bytes, so a list of layers is given
 * one by one (`lowerdir+`, Linux 6.7); an older kernel takes the few that fit.
 */
export function openLayers(paths: readonly string[]): number {
  const attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
  const [path = ''] = paths;
  if (paths.length === 1) {
    const fd = openTree(path);
    setMountAttributes(fd, { set: attributes });
    return fd;
  }
  const overlay = { type: 'overlay', source: 'overlay', attributes };
  const joined = `lowerdir=${paths.join(':')}`;
  if (Buffer.byteLength(joined) < 256) return openFileSystem({ ...overlay, options: [joined] });
  return openFileSystem({ ...overlay, options: paths.map((path) => `lowerdir+=${path}`) });
}

function readRegular(root: number, path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = openat2(root, path, {
      flags: constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY,
      resolve: inRoot,
    });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO')) return undefined;
    throw error;
  }
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) return undefined;
    if (status.size > largestFile) throw invalidField(`file ${path} of the image`, `at most ${largestFile} bytes`);
    const data = Buffer.alloc(status.size);
    return data.subarray(0, readSync(fd, data, 0, data.length, 0));
  } finally {
    closeSync(fd);
  }
}

function checkKey(key: string): void {
  if (!keyPattern.test(key)) throw invalidField('key', 'letters, digits, `_`, `.` and `-`, at most 128', key);
}
