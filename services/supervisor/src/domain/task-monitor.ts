import type { ContainerRecord } from './container.ts';
import { isLive } from './container-state.ts';
import { clearStray } from './create-container.ts';
import type { Engine } from './engine.ts';
import { recordExit, scheduleAftermath, wantsRemoval } from './task-exit.ts';

/** How long nothing may be seen of a run before it is given up: the launcher may be about to write how it ended. */
const graceMs = 3_000;
/** How long another shim may take to bring the output of a container that has ended into its log. */
const takeOverMs = 15_000;
const lostExitCode = 255;
const leftoverPauseMs = 10_000;

/**
 * Looks after runs whose shim is gone: their exits are in a file, or nowhere. A shim that lives reports by itself, and its
 * end wakes this up, so a look at a container costs nothing as long as all is well.
 */
export class TaskMonitor implements Disposable {
  readonly #engine: Engine;
  readonly #missingSince = new Map<string, number>();
  readonly #watches = new Map<string, { readonly shimPid: number; readonly watch: Disposable }>();
  #leftoversTriedAt = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** One look at everything that should run. */
  look(): void {
    const seen = new Set<string>();
    for (const record of this.#engine.repository.all()) {
      if (!isLive(record.state)) continue;
      const { containerId } = record;
      seen.add(containerId);
      if (this.#isWatched(containerId, record.task?.shimPid ?? 0)) this.#missingSince.delete(containerId);
      else this.#checkSoon(containerId);
    }
    for (const containerId of this.#missingSince.keys())
      if (!seen.has(containerId)) this.#missingSince.delete(containerId);
    for (const containerId of this.#watches.keys()) if (!seen.has(containerId)) this.#unwatch(containerId);
    this.#retryLeftovers();
  }

  [Symbol.dispose](): void {
    for (const containerId of this.#watches.keys()) this.#unwatch(containerId);
  }

  /** False when that shim is not there. */
  #isWatched(containerId: string, shimPid: number): boolean {
    if (this.#watches.get(containerId)?.shimPid === shimPid) return true;
    this.#unwatch(containerId);
    if (shimPid === 0) return false;
    const watch = this.#engine.files.watchProcess(shimPid, () => {
      this.#watches.delete(containerId);
      this.#checkSoon(containerId);
    });
    if (watch !== undefined) this.#watches.set(containerId, { shimPid, watch });
    return watch !== undefined;
  }

  #unwatch(containerId: string): void {
    this.#watches.get(containerId)?.watch[Symbol.dispose]();
    this.#watches.delete(containerId);
  }

  #checkSoon(containerId: string): void {
    const { queue, log } = this.#engine;
    queue
      .run(containerId, async () => this.check(containerId))
      .catch((err: unknown) => log.error({ containerId, err }, 'a container could not be looked at'));
  }

  /** Compares one record with the truth. In the container's queue, or before anybody else works on it. */
  check(containerId: string): void {
    const { repository, files, now } = this.#engine;
    const record = repository.get(containerId);
    if (record === undefined || !isLive(record.state)) return;
    const truth = files.probe(containerId, record.run);
    switch (truth.kind) {
      case 'alive':
        this.#missingSince.delete(containerId);
        this.#adopt(record, truth.shimPid, truth.initPid);
        return;
      case 'exited':
        // Its output comes first, and that is seen to by the shim that takes over.
        if (truth.exit.drained !== true && this.#missingFor(containerId) < takeOverMs) return;
        if (recordExit(this.#engine, containerId, truth.exit)) scheduleAftermath(this.#engine, containerId);
        return;
      case 'gone': {
        if (this.#missingFor(containerId) < graceMs) return;
        const exit = { run: record.run, exitCode: lostExitCode, oomKilled: false, exitedAtUnixNano: now() };
        const error = 'it is gone, and nobody saw how it ended (was the host restarted?)';
        if (recordExit(this.#engine, containerId, { ...exit, error })) scheduleAftermath(this.#engine, containerId);
      }
    }
  }

  /** Milliseconds since the shim was first found to be away. */
  #missingFor(containerId: string): number {
    const since = this.#missingSince.get(containerId) ?? performance.now();
    this.#missingSince.set(containerId, since);
    return performance.now() - since;
  }

  #adopt(record: ContainerRecord, shimPid: number, initPid: number): void {
    const { repository, log } = this.#engine;
    const { task, containerId } = record;
    if (task?.shimPid === shimPid && task.initPid === initPid) return;
    log.warn(
      { containerId, shimPid, initPid },
      shimPid === 0 ? 'a container goes on without its shim' : 'shim adopted',
    );
    repository.save({ container: { ...record, task: { netnsPath: '', ...task, shimPid, initPid } } });
  }

  #retryLeftovers(): void {
    const { leftovers, strays, log, files, repository } = this.#engine;
    if (performance.now() - this.#leftoversTriedAt < leftoverPauseMs) return;
    this.#leftoversTriedAt = performance.now();
    for (const containerId of files.listShimDirs()) {
      const state = repository.get(containerId)?.state;
      if (state === 'created' || state === 'exited') leftovers.add(containerId);
    }
    for (const containerId of strays) {
      clearStray(this.#engine, containerId).catch((err: unknown) =>
        log.warn({ containerId, err }, 'what a failed create had made could not be removed yet'),
      );
    }
    const unfinished = new Set(leftovers);
    for (const record of repository.all()) if (wantsRemoval(this.#engine, record)) unfinished.add(record.containerId);
    for (const containerId of unfinished) scheduleAftermath(this.#engine, containerId);
  }
}
