import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';

/** Whether an owner went away, so that the same may be asked again. */
export function isAway(error: unknown): boolean {
  return error instanceof FlotillaError && error.code === 'unavailable';
}

/**
 * Decides for how long something that was under way is asked for again while its owner is away. Once it answers, the
 * time starts anew.
 */
export class Patience {
  readonly #forMs: number;
  readonly #now: () => number;
  #endsAt: number | undefined;

  constructor(forMs: number, now: () => number = Date.now) {
    this.#forMs = forMs;
    this.#now = now;
  }

  /** The owner answered. */
  restore(): void {
    this.#endsAt = undefined;
  }

  /** Whether to ask again after this failure. */
  allows(error: unknown): boolean {
    if (!isAway(error)) return false;
    this.#endsAt ??= this.#now() + this.#forMs;
    return this.#now() < this.#endsAt;
  }
}

/** Asks again while the owner is away. */
export async function askPatiently<T>(ask: () => Promise<T>, patience: Patience, signal: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (signal.aborted || !patience.allows(error)) throw error;
    }
    await sleep(50, undefined, { signal });
  }
}
