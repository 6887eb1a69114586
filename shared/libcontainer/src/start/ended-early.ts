import { FlotillaError, hasReason } from '@flotilla/errors';
import { countReplaced } from '@flotilla/linux/fork';

const mostAttempts = 3;
const doing = 'set up';

/** The child ended without a word, before it was ready or, an exec, before it executed its program. */
export function endedEarly(): FlotillaError {
  const message = "the container's process ended while it was set up";
  return new FlotillaError('internal', message, { reason: 'CONTAINER_SETUP_FAILED', metadata: { doing } });
}

/** An init that was released died before it executed its program. */
export function initLost(): FlotillaError {
  return new FlotillaError('aborted', "the container's first process died before its program ran", {
    reason: 'INIT_LOST',
  });
}

/**
 * A forked child that dies before its program runs has done nothing that outlives it, so another takes its place, as with one
 * that lacks memory: a JavaScript engine that goes on in a fork owes its maker that much doubt.
 */
export function replacingTheDead<T>(make: () => T): T {
  for (let attempt = 1; ; attempt++) {
    try {
      return make();
    } catch (error) {
      const isDead = hasReason(error, 'CONTAINER_SETUP_FAILED') && error.metadata.doing === doing;
      if (!isDead || attempt === mostAttempts) throw error;
      countReplaced();
    }
  }
}
