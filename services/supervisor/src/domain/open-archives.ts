import { FlotillaError } from '@flotilla/errors';

interface Open {
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/**
 * Copies into and out of containers that are under way. They hold a mount of the container's writable layer, of which there
 * must be no second one when it starts, and which must not be removed.
 */
export class OpenArchives {
  readonly #open = new Map<string, Set<Open>>();

  /** One more, until it is disposed. The signal tells when it has to end. */
  begin(containerId: string): Disposable & { readonly signal: AbortSignal } {
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const one = { abort: new AbortController(), ended };
    const all = this.#open.get(containerId) ?? new Set();
    this.#open.set(containerId, all.add(one));
    const end = () => {
      resolve();
      all.delete(one);
      if (all.size === 0 && this.#open.get(containerId) === all) this.#open.delete(containerId);
    };
    return { signal: one.abort.signal, [Symbol.dispose]: end };
  }

  /** Resolves once there are none of a container: those that take longer are cut off. */
  async end(containerId: string, waitMs: number): Promise<void> {
    const all = [...(this.#open.get(containerId) ?? [])];
    if (all.length === 0) return;
    const timer = setTimeout(() => {
      for (const { abort } of all) abort.abort(changed(containerId));
    }, waitMs);
    try {
      await Promise.all(all.map(({ ended }) => ended));
    } finally {
      clearTimeout(timer);
    }
  }
}

function changed(containerId: string): FlotillaError {
  return new FlotillaError('aborted', `container ${containerId.slice(0, 12)} was started or removed meanwhile`, {
    reason: 'CONTAINER_CHANGED',
    metadata: { containerId },
  });
}
