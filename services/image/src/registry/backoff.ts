import { setTimeout as sleep } from 'node:timers/promises';
import { TransientError } from './registry-error.ts';

const longestPauseMs = 30_000;
/** A registry that asks for more is not waited for: whoever called has a better idea of what to do. */
const longestRetryAfterMs = 60_000;

/** Pauses between tries, longer with each failure in a row, each a little different so that many clients do not meet again. */
export class Backoff {
  readonly #retries: number;
  readonly #baseMs: number;
  #failures = 0;

  constructor({ retries, retryMs }: { readonly retries: number; readonly retryMs: number }) {
    this.#retries = retries;
    this.#baseMs = retryMs;
  }

  /** Returns when it is time for another try; throws what the failure is when there have been enough, or none would help. */
  async pause(error: unknown, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!(error instanceof TransientError)) throw error;
    const { lasting, retryAfterMs = 0 } = error;
    if (++this.#failures > this.#retries || retryAfterMs > longestRetryAfterMs) throw lasting;
    const pauseMs = Math.min(this.#baseMs * 2 ** (this.#failures - 1), longestPauseMs) * (0.75 + Math.random() / 2);
    try {
      await sleep(Math.max(pauseMs, retryAfterMs), undefined, { signal });
    } catch {
      signal.throwIfAborted();
    }
  }

  /** It has gone on meanwhile. */
  reset(): void {
    this.#failures = 0;
  }
}

/** `Retry-After` in milliseconds (RFC 9110, 10.2.3): seconds, or a date. */
export function parseRetryAfter(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(date - nowMs, 0);
}
