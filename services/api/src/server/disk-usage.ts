import type { GetDiskUsageResponse } from '@flotilla/proto/flotilla/v1/system';
import type { CallContext } from '@flotilla/rpc';
import type { ImageClient, SupervisorClient } from '../adapters/owners.ts';

export interface DiskUsageOwners {
  readonly supervisor: SupervisorClient;
  readonly images: ImageClient;
}

/** What the owners keep on disk. They look at every file: only the caller's patience ends that. */
export async function diskUsage(
  { supervisor, images: owner }: DiskUsageOwners,
  { signal }: CallContext,
): Promise<GetDiskUsageResponse> {
  const call = { signal, deadlineMs: Number.POSITIVE_INFINITY };
  const [kept, { containers }] = await Promise.all([owner.getUsage({}, call), supervisor.listContainerUsage({}, call)]);
  const { images, imagesBytes, imagesReclaimableBytes, snapshots, volumes } = kept;
  const written = new Map(snapshots.map(({ key, writableBytes }) => [key, writableBytes]));
  const all = containers.map((one) => ({ ...one, writableBytes: written.get(one.containerId) ?? 0n }));
  const containersBytes = sum(all.map(sizeOf));
  const containersReclaimableBytes = sum(all.filter(({ active }) => !active).map(sizeOf));
  const volumesBytes = sum(volumes.map(({ sizeBytes }) => sizeBytes));
  const unused = volumes.filter((volume) => volume.containers === 0);
  const volumesReclaimableBytes = sum(unused.map(({ sizeBytes }) => sizeBytes));
  return {
    images,
    containers: all,
    volumes,
    imagesBytes,
    containersBytes,
    volumesBytes,
    imagesReclaimableBytes,
    containersReclaimableBytes,
    volumesReclaimableBytes,
    reclaimableBytes: imagesReclaimableBytes + containersReclaimableBytes + volumesReclaimableBytes,
  };
}

function sizeOf({ writableBytes, logBytes }: { readonly writableBytes: bigint; readonly logBytes: bigint }): bigint {
  return writableBytes + logBytes;
}

function sum(sizes: readonly bigint[]): bigint {
  return sizes.reduce((total, size) => total + size, 0n);
}
