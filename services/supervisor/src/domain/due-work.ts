/** Longest delay of setTimeout. */
const longestMs = 2 ** 31 - 1;

/** Work to be done later, one piece a key, and of what is due at the same time only so much at once. */
export class DueWork implements Disposable {
  readonly #atOnce: number;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #ready: (() => Promise<void>)[] = [];
  #running = 0;

  constructor(atOnce: number) {
    this.#atOnce = atOnce;
  }

  /** Does the work after so many milliseconds, in place of what was to be done for this key. Work must not throw. */
  set(key: string, delayMs: number, work: () => Promise<void>): void {
    this.clear(key);
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        this.#ready.push(work);
        void this.#next();
      },
      Math.min(Math.max(delayMs, 0), longestMs),
    );
    this.#timers.set(key, timer.unref());
  }

  /** Something is to be done for this key, but is not due yet. */
  has(key: string): boolean {
    return this.#timers.has(key);
  }

  /** What is not yet due is not done. */
  clear(key: string): void {
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
  }

  async #next(): Promise<void> {
    if (this.#running >= this.#atOnce) return;
    const work = this.#ready.shift();
    if (work === undefined) return;
    this.#running++;
    try {
      await work();
    } finally {
      this.#running--;
      void this.#next();
    }
  }

  [Symbol.dispose](): void {
    for (const key of [...this.#timers.keys()]) this.clear(key);
    this.#ready.length = 0;
  }
}
