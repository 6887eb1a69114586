import { FlotillaError } from '@flotilla/errors';
import { type ContainerRecord, containerEvent, moveTo } from './container.ts';
import { type Engine, mustGet } from './engine.ts';
import { checkRunning } from './kill-container.ts';
import { saveThawed } from './thaw-after-signal.ts';
import { untilStored } from './until-stored.ts';

/** Freezes a container. FAILED_PRECONDITION / ILLEGAL_TRANSITION when it is frozen already, CONTAINER_NOT_RUNNING. */
export async function pauseContainer(engine: Engine, reference: string): Promise<void> {
  const { repository, queue, shims, now } = engine;
  const { containerId } = repository.find(reference);
  return queue.run(containerId, async () => {
    const record = mustGet(engine, containerId);
    checkRunning(record);
    if (record.state === 'paused') throw wrongState(record, 'is already paused');
    const pausing = moveTo(record, 'pausing');
    repository.save({ container: pausing });
    try {
      await shims.pause(containerId);
    } catch (error) {
      await untilStored(engine, containerId, () => repository.save({ container: moveTo(pausing, 'running') }));
      throw error;
    }
    const paused = moveTo(pausing, 'paused');
    const events = [containerEvent(paused, 'pause', now())];
    await untilStored(engine, containerId, () => repository.save({ container: paused, events }));
  });
}

/** Thaws it. FAILED_PRECONDITION / ILLEGAL_TRANSITION when it is not frozen. */
export async function unpauseContainer(engine: Engine, reference: string): Promise<void> {
  const { repository, queue, shims } = engine;
  const { containerId } = repository.find(reference);
  return queue.run(containerId, async () => {
    const record = mustGet(engine, containerId);
    checkRunning(record);
    if (record.state !== 'paused') throw wrongState(record, 'is not paused');
    await shims.resume(containerId);
    await saveThawed(engine, containerId);
  });
}

function wrongState({ containerId, name, state }: ContainerRecord, text: string): FlotillaError {
  return new FlotillaError('failed_precondition', `container ${name} ${text}`, {
    reason: 'ILLEGAL_TRANSITION',
    metadata: { containerId, name, state },
  });
}
