import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../harness/engine.ts';
import { waitFor } from '../harness/wait.ts';
import { isAlive } from './victims.ts';

const lookMs = 200;
/** A keeper is there long before `up` has come to its end. */
const patienceMs = 20_000;

/** Stands for the operator: runs `up` again whenever there is no keeper, be it that the last `up` is not done yet. */
export class KeeperWatch implements AsyncDisposable {
  /** How often it was run again. */
  ups = 0;
  readonly #engine: Engine;
  readonly #running: Promise<void>;
  readonly #ups: Promise<void>[] = [];
  #ended = false;
  /** Nobody wants a keeper any more. */
  #isOver = false;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#running = this.#watch();
  }

  /** Leaves a keeper that runs, and an `up` that has worked. */
  async stop(): Promise<void> {
    this.#ended = true;
    await this.#running;
    await Promise.all(this.#ups);
    await this.#engine.up();
  }

  /** Leaves whatever there is: nothing is started again from now on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = this.#isOver = true;
    await this.#running;
    await Promise.all(this.#ups);
  }

  async #watch(): Promise<void> {
    while (!this.#isOver && !(this.#ended && this.#isThere())) {
      if (!this.#isThere()) {
        this.ups += 1;
        // One may fail: the api, for example, is killed in the middle of a call of its own.
        this.#ups.push(this.#engine.up().catch(() => {}));
        await waitFor('a keeper', () => this.#isThere(), patienceMs).catch(() => {});
      }
      await sleep(lookMs);
    }
  }

  #isThere(): boolean {
    return isAlive(this.#engine.pid('keeper'));
  }
}
