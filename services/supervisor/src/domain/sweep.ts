import { hasReason } from '@flotilla/errors';
import type { ContainerRecord } from './container.ts';
import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';

/**
 * Removes what no record wants: shims, sandboxes, snapshots, folders. Each list is read before the records are, and a
 * record is written before anything is made for it, so that nothing new is taken for old.
 */
export async function sweep(engine: Engine): Promise<void> {
  const results = await Promise.allSettled([
    sweepShims(engine),
    sweepSandboxes(engine),
    sweepSnapshots(engine),
    sweepVolumeMounts(engine),
  ]);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function sweepShims({ files, shims, repository, log, queue }: Engine): Promise<void> {
  for (const containerId of files.listShimDirs()) {
    await queue.run(containerId, async () => {
      if (repository.get(containerId) !== undefined) return;
      log.warn({ containerId }, 'a shim that belongs to no container is removed');
      await shims.delete(containerId);
    });
  }
  for (const containerId of files.listStateDirs()) {
    if (repository.get(containerId) === undefined) await files.removeState(containerId);
  }
}

async function sweepSandboxes({ networks, repository, log, queue }: Engine): Promise<void> {
  for (const sandboxId of await networks.listSandboxes()) {
    if (hasSandbox(repository.get(sandboxId))) continue;
    await queue.run(sandboxId, async () => {
      if (hasSandbox(repository.get(sandboxId))) return;
      log.info({ containerId: sandboxId }, 'a sandbox that belongs to no running container is removed');
      await networks.detach(sandboxId);
    });
  }
}

async function sweepVolumeMounts({ images, repository, log, queue }: Engine): Promise<void> {
  for (const containerId of await images.listVolumeMounts()) {
    await queue.run(containerId, async () => {
      if (hasSandbox(repository.get(containerId))) return;
      log.info({ containerId }, 'volumes of a container that does not run are unmounted');
      await images.unmountVolumes(containerId);
    });
  }
}

function hasSandbox(record: ContainerRecord | undefined): boolean {
  return record !== undefined && (isLive(record.state) || record.state === 'starting');
}

async function sweepSnapshots(engine: Engine): Promise<void> {
  const { images, repository, log, queue } = engine;
  const there = new Set(await images.listSnapshots());
  await makeLost(engine, there);
  for (const containerId of there) {
    await queue.run(containerId, async () => {
      if (repository.get(containerId) !== undefined) return;
      log.info({ containerId }, 'a snapshot that belongs to no container is removed');
      await Promise.all([images.releaseVolumes(containerId, true), images.removeSnapshot(containerId)]);
    });
  }
}

/** Power loss may take a snapshot that is new, and with it what keeps the image from being removed: it is made again. */
async function makeLost({ images, repository, log, queue }: Engine, there: ReadonlySet<string>): Promise<void> {
  for (const { containerId } of [...repository.all()]) {
    if (there.has(containerId)) continue;
    await queue.run(containerId, async () => {
      const record = repository.get(containerId);
      if (record?.made === undefined || record.state === 'removing' || record.state === 'dead') return;
      log.info({ containerId }, 'a container without a snapshot gets one');
      try {
        await images.prepareSnapshot(containerId, record.made.imageId);
      } catch (error) {
        // It cannot be helped, and others can: its start says so to whoever wants it.
        if (!hasReason(error, 'IMAGE_NOT_FOUND')) throw error;
        log.warn({ containerId }, 'its image has gone, too');
      }
    });
  }
}
