/** Counts clients: those that a start waits for, and those whose calls are under way. */
export class Attachments {
  #expected = 0;
  #open = 0;
  readonly #waiting = new Set<() => void>();

  /** A client is attached. */
  enter(expected: boolean): void {
    this.#open++;
    if (expected) this.#expected++;
    this.#changed();
  }

  /** Its call is over. */
  leave(): void {
    this.#open--;
    this.#changed();
  }

  /** Resolves once so many that were expected have come, or after `waitMs`. */
  wait(expected: number, waitMs: number): Promise<void> {
    return this.#until(() => this.#expected >= expected, waitMs);
  }

  /** Resolves once all calls are over, or after `waitMs`. */
  waitForNone(waitMs: number): Promise<void> {
    return this.#until(() => this.#open === 0, waitMs);
  }

  async #until(reached: () => boolean, waitMs: number): Promise<void> {
    if (reached()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = () => {
      if (reached()) resolve();
    };
    const timer = setTimeout(resolve, waitMs);
    this.#waiting.add(look);
    await promise;
    this.#waiting.delete(look);
    clearTimeout(timer);
  }

  #changed(): void {
    for (const look of this.#waiting) look();
  }
}
