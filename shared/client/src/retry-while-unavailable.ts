import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';

/** Whether a call failed because the engine, or a service behind it, was away: it may be asked again. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof FlotillaError && error.code === 'unavailable';
}

/** Whether the engine had taken a call, or a stream, and then went away, unlike one that nobody took in time. */
export function isLost(error: unknown): boolean {
  return isUnavailable(error) && !isOverdue(error) && ownReasons.includes((error as FlotillaError).reason);
}

const ownReasons = ['SERVICE_UNAVAILABLE', 'SERVICE_STOPPING'];

export interface RetryOptions {
  readonly signal?: AbortSignal;
  /** For how long it is tried again while nobody takes it; 30 s when absent. */
  readonly forMs?: number;
  /** Tries again only what was lost on the way, not what nobody answered in time: the user has waited long enough then. */
  readonly onlyLost?: boolean;
}

/** A call that broke after so long was under way, not waiting for somebody to take it. */
const establishedMs = 5_000;

/**
 * Makes a call again while what it asks is away. Only for calls that may be made twice: those that read,
 * `startContainer` and `waitContainer` with `afterRun`, `createContainer` with an idempotency key.
 */
export async function retryWhileUnavailable<T>(
  call: () => Promise<T>,
  { signal, forMs = 30_000, onlyLost = false }: RetryOptions = {},
): Promise<T> {
  let endsAt: number | undefined;
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
    const askedAt = Date.now();
    try {
      return await call();
    } catch (error) {
      // It was there meanwhile: a wait that lasts for days may be broken many times.
      if (!isOverdue(error) && Date.now() - askedAt > establishedMs) endsAt = undefined;
      endsAt ??= Date.now() + forMs;
      const again = isUnavailable(error) && !(onlyLost && isOverdue(error));
      if (!again || Date.now() > endsAt || signal?.aborted === true) throw error;
    }
    await sleep(pauseMs, undefined, signal === undefined ? {} : { signal });
  }
}

/** Somebody waited for its answer as long as the deadline allowed. */
function isOverdue(error: unknown): boolean {
  return error instanceof FlotillaError && error.metadata.deadlineMs !== undefined;
}
