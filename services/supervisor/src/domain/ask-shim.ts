import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError, hasReason } from '@flotilla/errors';

/** A shim that makes way lets its clients finish first, which takes seconds where they are slow. */
const patienceMs = 10_000;
const pauseMs = 50;

/**
 * Asks a shim, and the one that takes its place when it leaves without an answer: for what is done once, however often it is
 * asked for.
 */
export function askShim<T>(ask: () => Promise<T>): Promise<T> {
  return askAgain(ask, (error) => isReplaced(error) || hasLeft(error));
}

/** The same for what would be done twice: asked again only of a shim that took over from one that did nothing. */
export function askShimOnce<T>(ask: () => Promise<T>): Promise<T> {
  return askAgain(ask, isReplaced);
}

async function askAgain<T>(ask: () => Promise<T>, isWorthIt: (error: unknown) => boolean): Promise<T> {
  for (const deadline = performance.now() + patienceMs; ; ) {
    try {
      return await ask();
    } catch (error) {
      if (!isWorthIt(error) || performance.now() >= deadline) throw error;
    }
    await sleep(pauseMs);
  }
}

/** It says so, and has done nothing. */
function isReplaced(error: unknown): boolean {
  return hasReason(error, 'SHIM_REPLACED');
}

/** The connection broke; one that is not there for as long as a call may take is another matter. */
function hasLeft(error: unknown): boolean {
  return error instanceof FlotillaError && error.code === 'unavailable' && !('deadlineMs' in error.metadata);
}
