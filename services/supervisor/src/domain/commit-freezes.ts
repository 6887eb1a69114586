import { setTimeout as sleep } from 'node:timers/promises';
import { containerEvent, moveTo } from './container.ts';
import { type Engine, mustGet } from './engine.ts';
import { saveThawed, thawAfterSignal } from './thaw-after-signal.ts';
import { untilStored } from './until-stored.ts';

const firstPauseMs = 200;
const longestPauseMs = 5_000;

/**
 * Containers that are frozen while a commit reads their files. The record says so: a supervisor that finds it after the
 * commit's end thaws the container. A user may thaw it, signal it, stop it meanwhile: then it is the user's.
 */
export class CommitFreezes {
  readonly #engine: Engine;
  /** How many commits want it frozen, by container. */
  readonly #wanted = new Map<string, number>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Freezes a container that runs; one that does not, or that a user has frozen, stays as it is. Answers what undoes it. */
  async freeze(containerId: string): Promise<() => Promise<void>> {
    this.#wanted.set(containerId, (this.#wanted.get(containerId) ?? 0) + 1);
    let undoing: Promise<void> | undefined;
    const undo = () => {
      undoing ??= this.#leave(containerId);
      return undoing;
    };
    try {
      await this.#engine.queue.run(containerId, () => this.#freezeQueued(containerId));
      return undo;
    } catch (error) {
      await undo();
      throw error;
    }
  }

  async #freezeQueued(containerId: string): Promise<void> {
    const { repository, shims, now } = this.#engine;
    const record = mustGet(this.#engine, containerId);
    if (record.state !== 'running') return;
    const pausing = moveTo(record, 'pausing', { frozenForCommit: true });
    repository.save({ container: pausing });
    try {
      await shims.pause(containerId);
    } catch (error) {
      await untilStored(this.#engine, containerId, () => repository.save({ container: moveTo(pausing, 'running') }));
      throw error;
    }
    const paused = moveTo(pausing, 'paused');
    const events = [containerEvent(paused, 'pause', now())];
    await untilStored(this.#engine, containerId, () => repository.save({ container: paused, events }));
  }

  async #leave(containerId: string): Promise<void> {
    const left = this.#wanted.get(containerId)! - 1;
    if (left > 0) {
      this.#wanted.set(containerId, left);
      return;
    }
    this.#wanted.delete(containerId);
    await this.#thaw(containerId);
  }

  /** Until it is done: again and again while the shim is away. */
  async #thaw(containerId: string): Promise<void> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      try {
        // Another commit may have begun meanwhile: it thaws.
        if (!this.#wanted.has(containerId)) await thawAfterCommit(this.#engine, containerId);
        return;
      } catch (err) {
        this.#engine.log.warn({ containerId, err }, 'a container could not be thawed after a commit; tried again');
      }
      await sleep(pauseMs, undefined, { ref: false });
    }
  }
}

/** Thaws a container that a commit has frozen, if it still is. */
export async function thawAfterCommit(engine: Engine, containerId: string): Promise<void> {
  const { queue, repository } = engine;
  await queue.run(containerId, async () => {
    const record = repository.get(containerId);
    if (record?.frozenForCommit !== true) return;
    if (record.state !== 'paused' && record.state !== 'pausing') return;
    if ((await thawAfterSignal(engine, containerId)) === 'ended') return; // Its exit is told.
    if (record.state === 'paused') return saveThawed(engine, containerId);
    // Nobody was told that it was frozen.
    const container = moveTo(mustGet(engine, containerId), 'running');
    await untilStored(engine, containerId, () => repository.save({ container }));
  });
}
