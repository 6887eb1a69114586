/**
 * Waits for one thing after the other, each of which may be cut short. Not Promise.race with a promise that outlives them all:
 * that one would keep something of each until it is settled, and a call may carry millions of messages.
 */
export class Interruptible {
  #interruption: { readonly reason: unknown } | undefined;
  #reject: ((reason: unknown) => void) | undefined;

  /** Rejects when `interrupt` comes first. One at a time. */
  wait<T>(promise: Promise<T>): Promise<T> {
    const { promise: waiting, resolve, reject } = Promise.withResolvers<T>();
    promise.then(resolve, reject);
    this.#reject = reject;
    if (this.#interruption !== undefined) reject(this.#interruption.reason);
    return waiting;
  }

  /** Whoever waits, or will, need not. */
  interrupt(reason: unknown): void {
    this.#interruption ??= { reason };
    this.#reject?.(this.#interruption.reason);
  }
}
