export interface TaskPlace {
  readonly run: number;
  /** The caller is waited for: its attachment comes before the release. */
  readonly expected: boolean;
}

/** Those who wait for a container's next task, so as to be attached before its first byte of output. */
export class TaskWaiters {
  readonly #waiting = new Map<string, Set<(place: TaskPlace) => void>>();

  /** Answers when the next task exists. Rejects with the signal's reason when the caller goes. */
  async next(containerId: string, signal: AbortSignal): Promise<TaskPlace> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<TaskPlace>();
    const abort = () => reject(signal.reason);
    const set = this.#waiting.get(containerId) ?? new Set();
    this.#waiting.set(containerId, set.add(resolve));
    signal.addEventListener('abort', abort, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', abort);
      set.delete(resolve);
      if (set.size === 0 && this.#waiting.get(containerId) === set) this.#waiting.delete(containerId);
    }
  }

  /** A task exists: tells all who wait; returns how many. */
  announce(containerId: string, run: number): number {
    const set = this.#waiting.get(containerId);
    if (set === undefined) return 0;
    this.#waiting.delete(containerId);
    for (const resolve of set) resolve({ run, expected: true });
    return set.size;
  }
}
