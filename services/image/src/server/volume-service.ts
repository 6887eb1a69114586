import { hasReason, invalidField } from '@flotilla/errors';
import { VolumeServiceService } from '@flotilla/proto/flotilla/v1/volume';
import { type Implementation, implement } from '@flotilla/rpc';
import type { Volumes } from '../adapters/volumes.ts';
import type { VolumeRecord } from '../domain/volume.ts';
import { matchesLabels } from './image-filter.ts';
import { pruneVolumes } from './prune.ts';
import { volumeToProto } from './to-proto.ts';

/** flotilla.v1.VolumeService. */
export function volumeService(volumes: Volumes): Implementation {
  const toProto = (volume: VolumeRecord) => volumeToProto(volume, volumes.path(volume.name));
  return implement(VolumeServiceService, {
    createVolume: async ({ name, driver, options, labels }) => {
      checkDriver(driver, 'driver');
      return { volume: toProto(volumes.create({ name, labels, options })) };
    },
    getVolume: async ({ name }) => ({ volume: toProto(volumes.get(name)) }),
    listVolumes: async ({ names, labels, drivers, dangling }) => {
      const used = volumes.used();
      return {
        volumes: volumes
          .list()
          .filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)))
          .filter((volume) => matchesLabels(volume.labels, labels))
          .filter(() => drivers.length === 0 || drivers.includes('local'))
          .filter(({ name }) => dangling === undefined || dangling !== used.has(name))
          .map(toProto),
      };
    },
    pruneVolumes: (request, { signal }) => pruneVolumes(volumes, request, signal),
    removeVolume: async ({ name, force }) => {
      try {
        volumes.remove(name);
      } catch (error) {
        if (!force || !hasReason(error, 'VOLUME_NOT_FOUND')) throw error;
      }
      return {};
    },
  });
}

/** Other drivers are another issue's. */
export function checkDriver(driver: string, field: string): void {
  if (driver !== '' && driver !== 'local') throw invalidField(field, '`local`', driver);
}
