import { hasReason } from '@flotilla/errors';
import type { PruneImagesRequest } from '@flotilla/proto/flotilla/v1/image';
import type { PruneVolumesRequest } from '@flotilla/proto/flotilla/v1/volume';
import type { ImageRemover } from '../adapters/image-remover.ts';
import type { SnapshotStore } from '../adapters/snapshot-store.ts';
import { treeSize } from '../adapters/tree-size.ts';
import type { Volumes } from '../adapters/volumes.ts';
import { type ImageRecord, parseTime } from '../domain/image.ts';
import type { ImageStore } from '../store/image-store.ts';
import { matchesLabels } from './image-filter.ts';

export interface PruneImagesParts {
  readonly images: ImageStore;
  readonly snapshots: SnapshotStore;
  readonly remover: ImageRemover;
}

/** Removes images that no container uses: those without a tag, or all. In one turn of the event loop, so nobody begins to use one. */
export function pruneImages({ images, snapshots, remover }: PruneImagesParts, request: PruneImagesRequest) {
  const { all, untilUnixNano: until } = request;
  const going = images
    .list()
    .filter(({ imageId }) => snapshots.usersOf(imageId).length === 0)
    .filter(({ imageId }) => all || !images.isTagged(imageId))
    .filter(({ config }) => isMeant(config.config?.Labels ?? {}, request))
    .filter((image) => until === undefined || isMadeBefore(image, until));
  const { removed, bytes } = remover.removeAll(going);
  return { removed, reclaimedBytes: BigInt(bytes) };
}

/** What does not say when it was made stays, as Docker has it. */
function isMadeBefore({ config: { created } }: ImageRecord, untilUnixNano: bigint): boolean {
  return created != null && created !== '' && parseTime(created) <= untilUnixNano;
}

interface LabelFilters {
  readonly labels: readonly string[];
  readonly labelsNot: readonly string[];
}

function isMeant(has: Readonly<Record<string, string>>, { labels, labelsNot }: LabelFilters): boolean {
  return matchesLabels(has, labels) && (labelsNot.length === 0 || !matchesLabels(has, labelsNot));
}

/** Removes volumes that no container uses, one after the other: those without a name of their own, or all. */
export async function pruneVolumes(volumes: Volumes, request: PruneVolumesRequest, signal: AbortSignal) {
  const names: string[] = [];
  let reclaimed = 0;
  for (const { name, anonymous, labels } of volumes.list()) {
    if ((!request.all && !anonymous) || !isMeant(labels, request) || volumes.usersOf(name).length > 0) continue;
    const bytes = await treeSize(volumes.path(name), signal);
    try {
      volumes.remove(name);
    } catch (error) {
      // A container took it, or somebody removed it, while its files were counted.
      if (hasReason(error, 'VOLUME_IN_USE') || hasReason(error, 'VOLUME_NOT_FOUND')) continue;
      throw error;
    }
    names.push(name);
    reclaimed += bytes;
  }
  return { names, reclaimedBytes: BigInt(reclaimed) };
}
