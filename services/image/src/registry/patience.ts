import { Backoff } from './backoff.ts';
import type { TransientError } from './registry-error.ts';
import type { RegistrySettings } from './settings.ts';
import { isNameUnknown } from './transport.ts';

/** How long a registry is waited for: somebody waits, so where nobody ever answered is soon said; what has may be waited for. */
export class Patience {
  readonly #patient: Backoff;
  readonly #hasty: Backoff;
  readonly #hasAnswered: () => boolean;

  constructor(settings: RegistrySettings, hasAnswered: () => boolean) {
    this.#patient = new Backoff(settings);
    this.#hasty = new Backoff({ ...settings, retries: Math.min(settings.retries, 1) });
    this.#hasAnswered = hasAnswered;
  }

  /** As Backoff.pause. */
  async pause(error: unknown, signal: AbortSignal): Promise<void> {
    if (!this.#hasAnswered() && isNameUnknown(error)) throw (error as TransientError).lasting;
    await (this.#hasAnswered() ? this.#patient : this.#hasty).pause(error, signal);
  }

  /** It has gone on meanwhile. */
  reset(): void {
    this.#patient.reset();
  }
}
