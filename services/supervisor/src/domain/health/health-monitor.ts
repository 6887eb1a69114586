import { type ContainerRecord, containerEvent } from '../container.ts';
import { DueWork } from '../due-work.ts';
import type { Engine } from '../engine.ts';
import { discardExec } from '../execs.ts';
import { afterProbe, type Probe, pauseMs } from './health.ts';
import { type HealthCheck, healthCheckOf } from './health-check.ts';
import { killProbe, runProbe } from './run-probe.ts';

/** So many checks are started at once, however many are due: a start costs several milliseconds of processor. */
const startsAtOnce = 8;
/** Containers that were started together are not checked together for ever. */
const mostJitterMs = 3_000;
/** Checks that came due while nobody was there are spread over at most so long. */
const mostSpreadMs = 10_000;
/** After a check that came to nothing because the shim was away. */
const retryMs = 1_000;

/** A run that is checked. */
interface Watch {
  readonly containerId: string;
  readonly run: number;
  readonly check: HealthCheck;
  readonly over: AbortController;
}

/**
 * Checks the health of what runs: each container by itself, one check after the other, so that none pile up. Follows
 * containers by their records alone: a run is checked from its start to its end, but for when it is frozen.
 */
export class HealthMonitor implements Disposable {
  readonly #engine: Engine;
  readonly #due = new DueWork(startsAtOnce);
  readonly #watches = new Map<string, Watch>();
  readonly #random: () => number;
  #unwatch = () => {};

  constructor(engine: Engine, random: () => number = Math.random) {
    this.#engine = engine;
    this.#random = random;
  }

  /** Goes on where the process before this one stopped, and follows what changes from now on. */
  start(): void {
    const { repository } = this.#engine;
    for (const record of repository.all()) {
      this.#endCheckUnderWay(record.containerId);
      const watch = this.#watch(record);
      if (watch !== undefined) this.#schedule(watch, this.#remainingMs(record, watch.check));
    }
    this.#unwatch = repository.watchAll((containerId, record) => this.#changed(containerId, record));
  }

  [Symbol.dispose](): void {
    this.#unwatch();
    this.#due[Symbol.dispose]();
    this.#watches.clear();
  }

  #changed(containerId: string, record: ContainerRecord | undefined): void {
    const known = this.#watches.get(containerId);
    if (record !== undefined && isChecked(record) && known?.run === record.run) return;
    if (known !== undefined) this.#drop(known);
    const watch = record === undefined ? undefined : this.#watch(record);
    if (watch !== undefined) this.#schedule(watch, this.#pauseMs(record!, watch.check));
  }

  #watch(record: ContainerRecord): Watch | undefined {
    const { containerId, run, config, made } = record;
    const check = isChecked(record) && made !== undefined ? healthCheckOf(config, made.image) : undefined;
    if (check === undefined) return undefined;
    const watch = { containerId, run, check, over: new AbortController() };
    this.#watches.set(containerId, watch);
    return watch;
  }

  #drop(watch: Watch): void {
    this.#watches.delete(watch.containerId);
    this.#due.clear(watch.containerId);
    watch.over.abort();
  }

  #schedule(watch: Watch, delayMs: number): void {
    this.#due.set(watch.containerId, delayMs, () => this.#begin(watch));
  }

  /** Resolves once the check's process runs, so that others are started while it does. */
  async #begin(watch: Watch): Promise<void> {
    if (watch.over.signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const { containerId } = watch;
    this.#check(watch, resolve)
      .catch((err: unknown) => this.#engine.log.error({ containerId, err }, 'a health check failed within the engine'))
      .finally(() => {
        resolve();
        const record = this.#engine.repository.get(containerId);
        if (this.#watches.get(containerId) !== watch || record === undefined) return;
        if (!this.#due.has(containerId)) this.#schedule(watch, this.#pauseMs(record, watch.check));
      });
    await promise;
  }

  async #check(watch: Watch, onStarted: () => void): Promise<void> {
    const { containerId, check, over } = watch;
    const probe = await runProbe(this.#engine, containerId, check, { signal: over.signal, onStarted });
    if (this.#watches.get(containerId) !== watch) return;
    if (probe === undefined) this.#schedule(watch, retryMs);
    else await this.#record(watch, probe);
  }

  /** In the container's queue: others hold its record while they wait there. */
  async #record(watch: Watch, probe: Probe): Promise<void> {
    const { repository, queue, now } = this.#engine;
    const { containerId, run, check } = watch;
    await queue.run(containerId, async () => {
      const record = repository.get(containerId);
      if (record?.health === undefined || record.run !== run || !isChecked(record)) return;
      const health = afterProbe(record.health, check, probe, record.startedAtUnixNano);
      const changed = health.status !== record.health.status;
      const events = changed ? [containerEvent(record, `health_status: ${health.status}`, now())] : [];
      repository.save({ container: { ...record, health }, events });
    });
  }

  #pauseMs(record: ContainerRecord, check: HealthCheck): number {
    const sinceStartMs = Number(this.#engine.now() - record.startedAtUnixNano) / 1e6;
    const pause = pauseMs(record.health!, check, sinceStartMs);
    return pause + this.#random() * Math.min(pause / 10, mostJitterMs);
  }

  /** Of the pause that was under way; the clock may have been set meanwhile. */
  #remainingMs(record: ContainerRecord, check: HealthCheck): number {
    const { health, startedAtUnixNano } = record;
    const sinceStartMs = Number(this.#engine.now() - startedAtUnixNano) / 1e6;
    const pause = pauseMs(health!, check, sinceStartMs);
    const last = health!.probes.at(-1)?.endedAtUnixNano ?? startedAtUnixNano;
    const left = pause - Number(this.#engine.now() - last) / 1e6;
    return left > 0 ? Math.min(left, pause) : this.#random() * Math.min(pause, mostSpreadMs);
  }

  /** Nobody waits for its result any more. */
  #endCheckUnderWay(containerId: string): void {
    for (const { execId, probe, state } of this.#engine.repository.execsOf(containerId)) {
      if (!probe) continue;
      if (state === 'running') void killProbe(this.#engine, containerId, execId);
      else discardExec(this.#engine, execId);
    }
  }
}

function isChecked({ state, health }: ContainerRecord): boolean {
  return state === 'running' && health !== undefined;
}
