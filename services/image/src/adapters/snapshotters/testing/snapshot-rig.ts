import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { sha256Digest } from '@flotilla/oci';
import { imageConfigSchema } from '@flotilla/oci/image';
import { type Database, openDatabase } from '@flotilla/store';
import { chainIds } from '../../../domain/chain-id.ts';
import type { ImageRecord } from '../../../domain/image.ts';
import { ImageStore } from '../../../store/image-store.ts';
import { migrations } from '../../../store/schema.ts';
import { defaultUnpackLimits } from '../../../unpack/limits.ts';
import { LayerStore } from '../../layer-store.ts';
import { SnapshotStore } from '../../snapshot-store.ts';
import { chooseSnapshotter } from '../choose-snapshotter.ts';
import type { SnapshotterName } from '../snapshotter.ts';

/** The stores of the image service over a root, without the service. */
export class SnapshotRig implements Disposable {
  readonly root: string;
  readonly snapshots: SnapshotStore;
  readonly images: ImageStore;
  readonly layers: LayerStore;
  readonly #database: Database;

  constructor(root: string, name: SnapshotterName | undefined) {
    this.root = root;
    const { snapshotter } = chooseSnapshotter(root, name);
    this.#database = openDatabase(join(root, 'image.db'), { migrations, durable: true });
    this.images = new ImageStore(this.#database);
    this.layers = new LayerStore(root, this.#database, defaultUnpackLimits, snapshotter);
    this.snapshots = new SnapshotStore(root, this.images, this.layers, snapshotter);
  }

  /** Unpacks plain tars as the layers of an image. */
  async addImage(tars: readonly { readonly path: string; readonly diffId: string }[]): Promise<ImageRecord> {
    const diffIds = tars.map(({ diffId }) => diffId);
    const chain = chainIds(diffIds);
    const layerSizes: number[] = [];
    for (const [at, { path, diffId }] of tars.entries()) {
      const request = { chainId: chain[at]!, diffId, digest: diffId, below: chain.slice(0, at), blobPath: path };
      layerSizes.push(await this.layers.ensure(request, () => {}));
    }
    const document = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: diffIds } };
    const image = {
      imageId: sha256Digest(Buffer.from(JSON.stringify(document))),
      manifestDigest: sha256Digest(Buffer.from('none')),
      blobs: [],
      diffIds,
      chainIds: chain,
      layerSizes,
      sizeBytes: layerSizes.reduce((sum, size) => sum + size, 0),
      config: imageConfigSchema.parse(document),
    };
    this.#database.transact(() => this.images.add(image, []));
    return image;
  }

  /** Mounts a snapshot as a container would see it, looks, and takes it away again. */
  withMounted<T>(key: string, look: (path: string) => T): T {
    const target = join(this.root, 'mounted');
    mkdirSync(target, { recursive: true });
    for (const { type, source, options } of this.snapshots.mounts(key).mounts) {
      execFileSync('mount', ['-t', type, source, '-o', options.join(','), target]);
    }
    try {
      return look(target);
    } finally {
      execFileSync('umount', [target]);
    }
  }

  [Symbol.dispose](): void {
    this.#database[Symbol.dispose]();
  }
}

/** A btrfs of its own, in a file that is mounted. */
export function mountBtrfs(folder: string): Disposable {
  const file = `${folder}.img`;
  closeSync(openSync(file, 'wx'));
  try {
    truncateSync(file, 256 << 20);
    execFileSync('mkfs.btrfs', ['-q', file]);
    mkdirSync(folder);
    execFileSync('mount', ['-o', 'loop', file, folder]);
  } catch (error) {
    rmSync(file);
    throw error;
  }
  return {
    [Symbol.dispose]: () => {
      execFileSync('umount', [folder]);
      rmSync(file);
    },
  };
}
