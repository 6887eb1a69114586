import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';
import { reportExit } from './task-exit.ts';

const lookMs = 100;

/**
 * While this process stops, its socket hears nobody, and calls that wait for an exit would wait for a report that only the
 * next process gets. What shims report is in their files too.
 */
export class ExitFiles implements Disposable {
  readonly #engine: Engine;
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Looks from now on. */
  start(): void {
    this.#timer ??= setInterval(() => this.#look(), lookMs);
  }

  #look(): void {
    const { repository, files, log } = this.#engine;
    for (const { containerId, run, state } of repository.all()) {
      if (!isLive(state)) continue;
      const exit = files.findExit(containerId, run);
      if (exit?.drained !== true) continue;
      reportExit(this.#engine, containerId, exit).catch((err: unknown) =>
        log.warn({ containerId, err }, 'an exit could not be recorded while stopping; the next process finds it'),
      );
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
