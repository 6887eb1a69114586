/** Work on one key is done one after the other, work on different keys side by side. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Does the work once all earlier work on the key is done. Fails as the work does; others do not mind. */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    const { promise: turn, resolve: leave } = Promise.withResolvers<void>();
    this.#tails.set(key, turn);
    try {
      await before;
      return await work();
    } finally {
      leave();
      if (this.#tails.get(key) === turn) this.#tails.delete(key);
    }
  }

  /** Keys with work under way. */
  get size(): number {
    return this.#tails.size;
  }
}
