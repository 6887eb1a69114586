import type { Container } from '@flotilla/proto/flotilla/v1/container';
import type { Image } from '@flotilla/proto/flotilla/v1/image';
import type { GetDiskUsageResponse } from '@flotilla/proto/flotilla/v1/system';
import type { Volume } from '@flotilla/proto/flotilla/v1/volume';
import { containerRow } from './containers.ts';
import { formatSize, shortId } from './human.ts';
import { imageRows } from './images.ts';
import type { Column, Row } from './table.ts';

export const summaryColumns: readonly Column[] = [
  { field: 'Type', title: 'TYPE' },
  { field: 'TotalCount', title: 'TOTAL' },
  { field: 'Active', title: 'ACTIVE' },
  { field: 'Size', title: 'SIZE' },
  { field: 'Reclaimable', title: 'RECLAIMABLE' },
];

export const imageUsageColumns: readonly Column[] = [
  { field: 'Repository', title: 'REPOSITORY' },
  { field: 'Tag', title: 'TAG' },
  { field: 'ID', title: 'IMAGE ID' },
  { field: 'CreatedSince', title: 'CREATED' },
  { field: 'Size', title: 'SIZE' },
  { field: 'SharedSize', title: 'SHARED SIZE' },
  { field: 'UniqueSize', title: 'UNIQUE SIZE' },
  { field: 'Containers', title: 'CONTAINERS' },
];

export const containerUsageColumns: readonly Column[] = [
  { field: 'ID', title: 'CONTAINER ID' },
  { field: 'Image', title: 'IMAGE' },
  { field: 'Command', title: 'COMMAND' },
  { field: 'LocalVolumes', title: 'LOCAL VOLUMES' },
  { field: 'Size', title: 'SIZE' },
  { field: 'RunningFor', title: 'CREATED' },
  { field: 'Status', title: 'STATUS' },
  { field: 'Names', title: 'NAMES' },
];

export const volumeUsageColumns: readonly Column[] = [
  { field: 'Name', title: 'VOLUME NAME' },
  { field: 'Links', title: 'LINKS' },
  { field: 'Size', title: 'SIZE' },
];

/** What `system df` shows: a row a kind. */
export function summaryRows(usage: GetDiskUsageResponse): Row[] {
  const { images, containers, volumes } = usage;
  const row = (type: string, all: number, active: number, size: bigint, reclaimable: bigint): Row => ({
    Type: type,
    TotalCount: String(all),
    Active: String(active),
    Size: formatSize(size, 4),
    Reclaimable: withPercent(reclaimable, size),
  });
  const used = (some: readonly { readonly containers: number }[]) => some.filter((one) => one.containers > 0).length;
  const running = containers.filter(({ active }) => active).length;
  return [
    row('Images', images.length, used(images), usage.imagesBytes, usage.imagesReclaimableBytes),
    row('Containers', containers.length, running, usage.containersBytes, usage.containersReclaimableBytes),
    row('Local Volumes', volumes.length, used(volumes), usage.volumesBytes, usage.volumesReclaimableBytes),
  ];
}

function withPercent(part: bigint, whole: bigint): string {
  return whole === 0n ? formatSize(part, 4) : `${formatSize(part, 4)} (${(part * 100n) / whole}%)`;
}

export interface DiskUsageParts {
  readonly usage: GetDiskUsageResponse;
  readonly images: readonly Image[];
  readonly containers: readonly Container[];
  readonly volumes: readonly Volume[];
}

/** What `system df --verbose` shows. What has come or gone between the answers is left out. */
export function detailedUsage({ usage, images, containers, volumes }: DiskUsageParts, nowMs: number) {
  const imageOf = new Map(usage.images.map((one) => [one.imageId, one]));
  const containerOf = new Map(usage.containers.map((one) => [one.containerId, one]));
  const volumeOf = new Map(usage.volumes.map((one) => [one.name, one]));
  return {
    Images: images.flatMap((image): Row[] => {
      const used = imageOf.get(image.imageId);
      const [row] = imageRows(image, { truncate: true, nowMs });
      if (used === undefined || row === undefined) return [];
      const { sizeBytes, sharedBytes, containers: users } = used;
      return [
        {
          ...row,
          Size: formatSize(sizeBytes, 4),
          SharedSize: formatSize(sharedBytes, 4),
          UniqueSize: formatSize(sizeBytes - sharedBytes, 4),
          Containers: String(users),
        },
      ];
    }),
    Containers: containers.flatMap((container): Row[] => {
      const used = containerOf.get(container.containerId);
      if (used === undefined) return [];
      const mounted = container.mounts.filter(({ type }) => type === 'MOUNT_TYPE_VOLUME');
      const size = formatSize(used.writableBytes + used.logBytes, 4);
      const row = containerRow(container, { truncate: true, nowMs });
      return [{ ...row, ID: shortId(container.containerId), LocalVolumes: String(mounted.length), Size: size }];
    }),
    Volumes: volumes.flatMap(({ name, driver, mountpoint }): Row[] => {
      const used = volumeOf.get(name);
      if (used === undefined) return [];
      const { containers: users, sizeBytes } = used;
      const size = formatSize(sizeBytes, 4);
      return [{ Driver: driver, Name: name, Mountpoint: mountpoint, Links: String(users), Size: size }];
    }),
  };
}
