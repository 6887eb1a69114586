import { UsageServiceService } from '@flotilla/proto/flotilla/image/v1/usage';
import { type Implementation, implement } from '@flotilla/rpc';
import { type ImagesUsageParts, imagesUsage } from '../adapters/image-usage.ts';
import { treeSize } from '../adapters/tree-size.ts';
import type { Volumes } from '../adapters/volumes.ts';

/** flotilla.image.v1.UsageService: what this service keeps on disk. */
export function usageService(parts: ImagesUsageParts, volumes: Volumes): Implementation {
  const { snapshots } = parts;
  /** One after the other: the disk is wanted by others, too. */
  const usageOf = async (keys: readonly string[], signal: AbortSignal) => {
    const found: { key: string; writableBytes: bigint }[] = [];
    for (const key of keys) {
      const bytes = await treeSize(snapshots.upperPath(key), signal);
      found.push({ key, writableBytes: BigInt(bytes) });
    }
    return found;
  };
  return implement(UsageServiceService, {
    getUsage: async (_request, { signal }) => {
      const { images, bytes, reclaimableBytes } = imagesUsage(parts);
      const sizes: { name: string; sizeBytes: bigint; containers: number }[] = [];
      for (const { name, options } of volumes.list()) {
        // What a volume's options name is not on this engine's disk, and may be a share without a server, or the whole host.
        const isOwn = Object.keys(options).length === 0;
        const sizeBytes = isOwn ? BigInt(await treeSize(volumes.path(name), signal)) : 0n;
        sizes.push({ name, sizeBytes, containers: volumes.usersOf(name).length });
      }
      return {
        images: images.map(({ imageId, sizeBytes, sharedBytes, containers }) => ({
          imageId,
          containers,
          sizeBytes: BigInt(sizeBytes),
          sharedBytes: BigInt(sharedBytes),
        })),
        imagesBytes: BigInt(bytes),
        imagesReclaimableBytes: BigInt(reclaimableBytes),
        snapshots: await usageOf(snapshots.keys(), signal),
        volumes: sizes,
      };
    },
    getSnapshotUsage: async ({ keys }, { signal }) => {
      const there = new Set(snapshots.keys());
      return {
        snapshots: await usageOf(
          [...new Set(keys)].filter((key) => there.has(key)),
          signal,
        ),
      };
    },
  });
}
