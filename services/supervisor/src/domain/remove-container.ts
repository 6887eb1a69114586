import { FlotillaError } from '@flotilla/errors';
import { type ContainerRecord, containerEvent, moveTo } from './container.ts';
import { isLive } from './container-state.ts';
import { type Engine, mustGet } from './engine.ts';
import { waitsForRestart } from './restart-policy.ts';
import { stopWith } from './stop-container.ts';
import { takeDown } from './take-down.ts';
import { untilStored } from './until-stored.ts';

export interface RemoveRequest {
  readonly force: boolean;
  readonly removeVolumes: boolean;
}

/** Removes a container with all it has. FAILED_PRECONDITION / CONTAINER_RUNNING unless forced. */
export async function removeContainer(engine: Engine, reference: string, request: RemoveRequest): Promise<void> {
  const { repository, queue, restarting } = engine;
  const { containerId } = repository.find(reference);
  for (;;) {
    if (request.force) {
      const purpose = { restart: false, announceStop: false };
      restarting.delete(containerId);
      await stopWith(engine, containerId, { signal: 9, timeoutSeconds: 0, purpose });
    }
    const done = await queue.run(containerId, async () => {
      const record = repository.get(containerId);
      // Gone meanwhile: it was one that is removed when it exits.
      if (record === undefined) return true;
      if (isLive(record.state) || waitsForRestart(record)) {
        if (request.force) return false;
        throw stillRunning(record);
      }
      await removeQueued(engine, containerId, request.removeVolumes);
      return true;
    });
    if (done) return;
  }
}

function stillRunning(record: ContainerRecord): FlotillaError {
  const { name, containerId } = record;
  const state = waitsForRestart(record) ? 'restarting' : record.state;
  return new FlotillaError(
    'failed_precondition',
    `container ${name} is ${state}: stop it first, or force its removal`,
    {
      reason: 'CONTAINER_RUNNING',
      metadata: { containerId, state },
    },
  );
}

/** In the container's queue. A container that cannot be removed is `dead`, with the reason kept. */
export async function removeQueued(engine: Engine, containerId: string, removeVolumes: boolean): Promise<void> {
  const { repository, attachments, now } = engine;
  attachments.forget(containerId);
  const record = mustGet(engine, containerId);
  const removing =
    record.state === 'removing' ? record : moveTo(record, 'removing', { removeVolumes: removeVolumes, error: '' });
  if (record !== removing) repository.save({ container: removing });
  try {
    await engine.archives.end(containerId, 0);
    await takeDown(engine, containerId);
    await removeParts(engine, removing);
  } catch (error) {
    const text = error instanceof FlotillaError ? error.message : "the engine failed; the supervisor's log says how";
    await untilStored(engine, containerId, () =>
      repository.save({ container: moveTo(removing, 'dead', { error: text }) }),
    );
    throw error;
  }
  const events = [containerEvent(removing, 'destroy', now())];
  await untilStored(engine, containerId, () => repository.remove(containerId, events));
  await repository.flush();
}

async function removeParts({ images, files }: Engine, record: ContainerRecord): Promise<void> {
  const { containerId, made, removeVolumes } = record;
  const hasVolumes = made === undefined || made.mounts.some(({ type }) => type === 'MOUNT_TYPE_VOLUME');
  await Promise.all([
    images.removeSnapshot(containerId),
    hasVolumes ? images.releaseVolumes(containerId, removeVolumes) : Promise.resolve(),
    files.removeState(containerId),
  ]);
}
