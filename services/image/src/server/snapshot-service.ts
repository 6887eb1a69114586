import { invalidField } from '@flotilla/errors';
import { SnapshotServiceService } from '@flotilla/proto/flotilla/image/v1/snapshot';
import { type Implementation, implement } from '@flotilla/rpc';
import type { SnapshotMounts, SnapshotStore } from '../adapters/snapshot-store.ts';
import type { Volumes } from '../adapters/volumes.ts';
import type { ImageStore } from '../store/image-store.ts';
import { imageToProto } from './to-proto.ts';
import { checkDriver } from './volume-service.ts';

export interface SnapshotServiceDependencies {
  readonly images: ImageStore;
  readonly snapshots: SnapshotStore;
  readonly volumes: Volumes;
  readonly snapshotter: { readonly name: string; readonly because: string };
}

/** flotilla.image.v1.SnapshotService: what the supervisor asks for. */
export function snapshotService({
  images,
  snapshots,
  volumes,
  snapshotter,
}: SnapshotServiceDependencies): Implementation {
  return implement(SnapshotServiceService, {
    resolveImage: async ({ image }) => {
      const found = images.resolve(image).image;
      return { image: imageToProto(found, images.referencesOf(found.imageId)) };
    },
    prepareSnapshot: async ({ key, imageId }, { signal }) => ({
      mounts: mountsOf(await snapshots.prepare(key, imageId, signal)),
    }),
    getSnapshotMounts: async ({ key }) => {
      const found = snapshots.mounts(key);
      return { mounts: mountsOf(found), layerPaths: [...found.layerPaths], upperPath: found.upperPath };
    },
    removeSnapshot: async ({ key }) => {
      await snapshots.remove(key);
      return {};
    },
    getSnapshotter: async () => snapshotter,
    listSnapshots: async () => ({ keys: snapshots.keys() }),
    prepareVolumes: async ({ key, volumes: wishes }) => {
      for (const { target, driver } of wishes) {
        if (!target.startsWith('/')) throw invalidField('volumes.target', 'an absolute path', target);
        checkDriver(driver, 'volumes.driver');
      }
      return { volumes: await volumes.prepare(key, wishes) };
    },
    releaseVolumes: async ({ key, removeAnonymous }) => {
      await volumes.release(key, removeAnonymous);
      return {};
    },
    mountVolumes: async ({ key, volumes: mounts }, { signal }) => {
      await volumes.mounts.mount(key, mounts, signal);
      return {};
    },
    unmountVolumes: async ({ key }) => {
      await volumes.mounts.unmount(key);
      return {};
    },
    listVolumeMounts: async () => ({ keys: volumes.mounts.keys() }),
    readSnapshotFile: async ({ key, path }) => {
      if (!path.startsWith('/')) throw invalidField('path', 'an absolute path', path);
      const data = snapshots.readFile(key, path);
      return { found: data !== undefined, data: data ?? Buffer.alloc(0) };
    },
  });
}

function mountsOf({ mounts }: SnapshotMounts) {
  return mounts.map(({ type, source, options }) => ({ type, source, options: [...options] }));
}
