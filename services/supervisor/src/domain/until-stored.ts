import { setTimeout as sleep } from 'node:timers/promises';
import { asDiskFull, hasReason } from '@flotilla/errors';
import type { Engine } from './engine.ts';

const pauseMs = 100;

/**
 * Stores what has come of a step that cannot be taken back: again and again while the disk is full, for what has happened must
 * not be forgotten. In the container's queue, so that nothing else happens to it meanwhile.
 */
export async function untilStored({ log }: Pick<Engine, 'log'>, containerId: string, store: () => void): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return store();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      if (attempt === 1) log.warn({ containerId }, 'the disk is full: what has happened is stored once there is room');
    }
    await sleep(pauseMs);
  }
}

/** Here, or at another service. */
export function isDiskFull(error: unknown): boolean {
  return hasReason(error, 'DISK_FULL') || asDiskFull(error) !== undefined;
}
