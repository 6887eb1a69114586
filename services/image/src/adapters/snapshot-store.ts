import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { invalidField } from '@flotilla/errors';
import {
  isErrno,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_RDONLY,
  openat2,
  openOverlay,
  openTree,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  setMountAttributes,
  umount,
} from '@flotilla/linux';
import { snapshotNotFound } from '../domain/errors.ts';
import type { ImageRecord } from '../domain/image.ts';
import type { ImageStore } from '../store/image-store.ts';
import type { LayerStore } from './layer-store.ts';
import type { MountDescription, Snapshotter } from './snapshotters/snapshotter.ts';

export interface SnapshotMounts {
  readonly mounts: readonly MountDescription[];
  /** Uppermost first: of a snapshotter that keeps whole roots, only the one that the snapshot began as. */
  readonly layerPaths: readonly string[];
  /** What the container writes to; of a snapshotter that keeps whole roots, all of its root. */
  readonly upperPath: string;
}

const largestFile = 1 << 20;
const keyPattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;
const inRoot = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/**
 * Writable snapshots: `snapshots/<key>` holds `fs`, what the snapshotter needs, and `image`, a link that says the image id. The
 * folder is the record: it is made beside and renamed, so one that is there is whole.
 */
export class SnapshotStore {
  readonly #folder: string;
  readonly #trash: string;
  readonly #images: ImageStore;
  readonly #layers: LayerStore;
  readonly #snapshotter: Snapshotter;
  readonly #scratch: string;
  /** Image id by key. */
  readonly #keys = new Map<string, string>();
  /** What is being made. */
  readonly #making = new Map<string, Making>();

  constructor(root: string, images: ImageStore, layers: LayerStore, snapshotter: Snapshotter) {
    this.#folder = join(root, 'snapshots');
    this.#trash = join(root, 'trash');
    this.#images = images;
    this.#layers = layers;
    this.#snapshotter = snapshotter;
    this.#scratch = makeScratch(root);
    for (const folder of [this.#folder, this.#trash]) mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#trash)) this.#shred(join(this.#trash, name));
    for (const key of readdirSync(this.#folder)) {
      if (key.startsWith('.')) this.#discard(key);
      else this.#keys.set(key, readlinkSync(join(this.#folder, key, 'image')));
    }
  }

  /** Whether a snapshot's `upperPath` holds only what differs from its layers. */
  get stacked(): boolean {
    return this.#snapshotter.stacked;
  }

  /** Makes a snapshot on an image, or finds the one that is there. */
  async prepare(key: string, imageId: string, signal?: AbortSignal): Promise<SnapshotMounts> {
    checkKey(key);
    for (let other = this.#making.get(key); other !== undefined; other = this.#making.get(key)) {
      // It may have been cancelled: then this one tries for itself.
      await other.ended;
      signal?.throwIfAborted();
    }
    if (!this.#keys.has(key)) await this.#make(key, this.#images.get(imageId), signal);
    return this.mounts(key);
  }

  async #make(key: string, { imageId, chainIds }: ImageRecord, signal?: AbortSignal): Promise<void> {
    const fresh = join(this.#folder, `.${key}`);
    if (existsSync(fresh)) this.#discard(`.${key}`);
    const stop = new AbortController();
    const onAbort = () => stop.abort(signal?.reason);
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    const ended = Promise.withResolvers<void>();
    this.#making.set(key, { imageId, stop, ended: ended.promise });
    using _layers = this.#layers.pin(chainIds);
    try {
      await this.#snapshotter.makeSnapshot(fresh, this.#layersOf(chainIds), stop.signal);
      symlinkSync(imageId, join(fresh, 'image'));
      renameSync(fresh, join(this.#folder, key));
      this.#keys.set(key, imageId);
    } catch (error) {
      if (existsSync(fresh)) this.#discard(`.${key}`);
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#making.delete(key);
      ended.resolve();
    }
  }

  /** Uppermost first. */
  #layersOf(chainIds: readonly string[]): string[] {
    return chainIds.map((chainId) => this.#layers.path(chainId)).reverse();
  }

  /** NOT_FOUND / SNAPSHOT_NOT_FOUND. */
  mounts(key: string): SnapshotMounts {
    const { chainIds } = this.#images.get(this.imageOf(key));
    const folder = join(this.#folder, key);
    const layers = this.#layersOf(chainIds);
    const layerPaths = this.stacked ? layers : layers.slice(0, 1);
    return { mounts: this.#snapshotter.mounts(folder, layers), layerPaths, upperPath: join(folder, 'fs') };
  }

  imageOf(key: string): string {
    const imageId = this.#keys.get(key);
    if (imageId === undefined) throw snapshotNotFound(key);
    return imageId;
  }

  /** A snapshot that is not there is no error; one that is being made is given up. */
  async remove(key: string): Promise<void> {
    const making = this.#making.get(key);
    making?.stop.abort(snapshotNotFound(key));
    await making?.ended;
    if (!this.#keys.has(key)) return;
    this.#discard(key); // First: where it fails, it is still there to be removed.
    this.#keys.delete(key);
  }

  /** The folder of what a container has written, whether it is there or not. */
  upperPath(key: string): string {
    return join(this.#folder, key, 'fs');
  }

  keys(): string[] {
    return [...this.#keys.keys()];
  }

  /** Keys of the snapshots on an image. */
  usersOf(imageId: string): string[] {
    const making = [...this.#making].map(([key, one]) => [key, one.imageId] as const);
    return [...this.#keys, ...making].filter(([, id]) => id === imageId).map(([key]) => key);
  }

  /** Opens what a container would see as its root, read-only, as a mount that nobody else sees. */
  openRoot(key: string): number {
    const { layerPaths, upperPath } = this.mounts(key);
    return this.openLayers(this.stacked ? [upperPath, ...layerPaths] : [upperPath]);
  }

  /** {@link openLayers} */
  openLayers(paths: readonly string[]): number {
    return openLayers(paths, this.#scratch);
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
    void this.#snapshotter.remove(path).catch(() => {}); // The next start tries again.
  }
}

/** A snapshot that is being made. */
interface Making {
  readonly imageId: string;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/** A folder for a mount of a moment; a service that was killed in that moment may have left it there. */
function makeScratch(root: string): string {
  const scratch = join(root, 'scratch');
  mkdirSync(scratch, { recursive: true, mode: 0o700 });
  try {
    umount(scratch, { detach: true });
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'EPERM')) throw error;
  }
  return scratch;
}

/**
 * Opens folders over one another, uppermost first, as a read-only mount that nobody else sees and whose devices cannot be
 * opened. `scratch`: a folder for a mount of a moment, for kernels before `lowerdir+`.
 */
export function openLayers(paths: readonly string[], scratch: string): number {
  const attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV;
  const [path = ''] = paths;
  if (paths.length > 1) return openOverlay(paths, { attributes, scratch });
  const fd = openTree(path);
  try {
    setMountAttributes(fd, { set: attributes });
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
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
