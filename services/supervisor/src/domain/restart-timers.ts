import { DueWork } from './due-work.ts';

/** A host that has booted may have hundreds of containers to start: without starving calls. */
const startsAtOnce = 8;

/** When containers that wait for their restart are started. */
export class RestartTimers implements Disposable {
  readonly #due = new DueWork(startsAtOnce);
  readonly #start: (containerId: string) => Promise<void>;

  /** `start` must not throw. */
  constructor(start: (containerId: string) => Promise<void>) {
    this.#start = start;
  }

  /** After so many milliseconds, instead of when it was to be. */
  set(containerId: string, delayMs: number): void {
    this.#due.set(containerId, delayMs, () => this.#start(containerId));
  }

  has(containerId: string): boolean {
    return this.#due.has(containerId);
  }

  /** One that is not yet due is not started. */
  clear(containerId: string): void {
    this.#due.clear(containerId);
  }

  [Symbol.dispose](): void {
    this.#due[Symbol.dispose]();
  }
}
