import { hasReason } from '@flotilla/errors';
import { containerEvent, moveTo } from './container.ts';
import { type Engine, mustGet } from './engine.ts';
import { untilStored } from './until-stored.ts';

/** Lets a frozen container take the signal that it was sent. One that has ended of it meanwhile needs no thaw. */
export async function thawAfterSignal(
  { shims }: Pick<Engine, 'shims'>,
  containerId: string,
): Promise<'thawed' | 'ended'> {
  try {
    await shims.resume(containerId);
    return 'thawed';
  } catch (error) {
    if (!hasReason(error, 'TASK_NOT_RUNNING')) throw error;
    return 'ended';
  }
}

/** It runs again, and that is told. In the container's queue. */
export async function saveThawed(engine: Engine, containerId: string): Promise<void> {
  const running = moveTo(mustGet(engine, containerId), 'running');
  const events = [containerEvent(running, 'unpause', engine.now())];
  await untilStored(engine, containerId, () => engine.repository.save({ container: running, events }));
}
