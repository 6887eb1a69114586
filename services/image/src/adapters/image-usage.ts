import type { ImageRecord } from '../domain/image.ts';
import type { ImageStore } from '../store/image-store.ts';
import type { ContentStore } from './content-store.ts';
import type { LayerStore } from './layer-store.ts';
import type { SnapshotStore } from './snapshot-store.ts';

/** What images take on disk, bytes. */
export interface ImagesUsage {
  /** Layers and blobs, what images share once. */
  readonly bytes: number;
  /** Of that, what no image needs that a container uses. */
  readonly reclaimableBytes: number;
  readonly images: readonly {
    readonly imageId: string;
    readonly sizeBytes: number;
    readonly sharedBytes: number;
    readonly containers: number;
  }[];
}

export interface ImagesUsageParts {
  readonly images: ImageStore;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly snapshots: SnapshotStore;
}

/** Counts layers unpacked and blobs as they are stored; from records alone, without a look at a layer's files. */
export function imagesUsage({ images, content, layers, snapshots }: ImagesUsageParts): ImagesUsage {
  const parts = new Map<string, { bytes: number; images: number; used: boolean }>();
  const all = images.list().map((image) => {
    const containers = snapshots.usersOf(image.imageId).length;
    const keys = partsOf(image);
    for (const { key, digest } of keys) {
      const bytes = key.startsWith('layer') ? layers.size(digest) : content.has(digest) ? content.size(digest) : 0;
      const part = parts.get(key) ?? { bytes, images: 0, used: false };
      part.images++;
      part.used ||= containers > 0;
      parts.set(key, part);
    }
    return { imageId: image.imageId, containers, keys };
  });
  const sum = (some: Iterable<{ readonly bytes: number }>) => [...some].reduce((total, { bytes }) => total + bytes, 0);
  return {
    bytes: sum(parts.values()),
    reclaimableBytes: sum([...parts.values()].filter(({ used }) => !used)),
    images: all.map(({ imageId, containers, keys }) => {
      const own = keys.map(({ key }) => parts.get(key)!);
      return { imageId, containers, sizeBytes: sum(own), sharedBytes: sum(own.filter((part) => part.images > 1)) };
    }),
  };
}

/** Each once: two layers of an image may be the same blob. */
function partsOf({ blobs, chainIds }: ImageRecord): { readonly key: string; readonly digest: string }[] {
  const of = (kind: string, digests: readonly string[]) =>
    [...new Set(digests)].map((digest) => ({ key: `${kind} ${digest}`, digest }));
  return [...of('blob', blobs), ...of('layer', chainIds)];
}
