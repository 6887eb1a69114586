import { hasReason } from '@flotilla/errors';
import type { Engine } from './engine.ts';

/** Lets a frozen container take the signal that it was sent. One that has ended of it meanwhile needs no thaw. */
export async function thawAfterSignal({ shims }: Engine, containerId: string): Promise<void> {
  try {
    await shims.resume(containerId);
  } catch (error) {
    if (!hasReason(error, 'TASK_NOT_RUNNING')) throw error;
  }
}
