import { setImmediate as turn } from 'node:timers/promises';
import type { ContainerRecord } from './container.ts';
import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';
import type { CpuUsage, HostUsage, Observer, Usage } from './observation.ts';

/** What a container used at a time; without `usage` it did not run. */
export interface Sample {
  readonly record: ContainerRecord;
  readonly timeUnixNano: bigint;
  readonly host: HostUsage;
  readonly usage: Usage | undefined;
  readonly previous: PreviousSample | undefined;
}

export interface PreviousSample {
  readonly timeUnixNano: bigint;
  readonly host: HostUsage;
  readonly cpu: CpuUsage;
}

export interface StatsWish {
  /** References; empty means all that run. */
  readonly containers: readonly string[];
  /** Where `containers` is empty: all. */
  readonly all: boolean;
  /** `once`: at once, without a sample before; `single`: one with it; `stream`: again and again. */
  readonly mode: 'once' | 'single' | 'stream';
}

/** Containers are read a few at a time: calls are answered in between. */
const readsAtOnce = 16;

/**
 * Reads what containers use, once in each interval for all who listen; does nothing when nobody does. A caller that is too
 * slow for a round gets the next.
 */
export class StatsSampler {
  readonly #engine: Pick<Engine, 'repository' | 'now' | 'log'>;
  readonly #observer: Observer;
  readonly #intervalMs: number;
  readonly #listeners = new Set<Listener>();
  #last: ReadonlyMap<string, Sample> = new Map();
  #next = Promise.withResolvers<ReadonlyMap<string, Sample>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(engine: Pick<Engine, 'repository' | 'now' | 'log'>, observer: Observer, intervalMs = 1_000) {
    this.#engine = engine;
    this.#observer = observer;
    this.#intervalMs = intervalMs;
  }

  /** Ends when the signal is aborted, or no container of those named is left. NOT_FOUND / CONTAINER_NOT_FOUND. */
  async *samples({ containers, all, mode }: StatsWish, signal: AbortSignal): AsyncGenerator<Sample> {
    const { repository } = this.#engine;
    const ids = containers.map((reference) => repository.find(reference).containerId);
    const listener: Listener = { ids: containers.length === 0 ? undefined : new Set(ids), all };
    if (mode === 'once') {
      yield* (await this.#read(this.#wanted(listener))).values();
      return;
    }
    this.#join(listener);
    try {
      const seen = new Set<string>();
      while (!signal.aborted) {
        const wanted = this.#wanted(listener);
        if (wanted.length === 0 && (listener.ids !== undefined || mode === 'single')) return;
        if (mode === 'single' && wanted.every(({ containerId }) => seen.has(containerId))) return;
        const round = await this.#nextRound(signal);
        if (round === undefined) return;
        for (const { containerId } of this.#wanted(listener)) {
          const sample = round.get(containerId);
          if (sample === undefined || !isComplete(sample) || (mode === 'single' && seen.has(containerId))) continue;
          seen.add(containerId);
          yield sample;
        }
      }
    } finally {
      this.#leave(listener);
    }
  }

  /** Undefined when the signal is aborted first. */
  async #nextRound(signal: AbortSignal): Promise<ReadonlyMap<string, Sample> | undefined> {
    const { promise, resolve } = Promise.withResolvers<ReadonlyMap<string, Sample> | undefined>();
    const leave = () => resolve(undefined);
    signal.addEventListener('abort', leave, { once: true });
    void this.#next.promise.then(resolve);
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  #wanted({ ids, all }: Listener): ContainerRecord[] {
    const { repository } = this.#engine;
    if (ids !== undefined) return [...ids].flatMap((id) => repository.get(id) ?? []);
    return [...repository.all()].filter(({ state }) => all || isLive(state));
  }

  #join(listener: Listener): void {
    this.#listeners.add(listener);
    this.#timer ??= setTimeout(() => void this.#round(), 0);
  }

  #leave(listener: Listener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#last = new Map();
  }

  async #round(): Promise<void> {
    const timer = this.#timer;
    const startedAt = performance.now();
    const wanted = new Map<string, ContainerRecord>();
    for (const listener of this.#listeners)
      for (const record of this.#wanted(listener)) wanted.set(record.containerId, record);
    const round = await this.#read([...wanted.values()]);
    if (this.#timer !== timer || timer === undefined) return; // The last listener left meanwhile.
    this.#last = round;
    const { resolve } = this.#next;
    this.#next = Promise.withResolvers();
    const pauseMs = Math.max(this.#intervalMs - (performance.now() - startedAt), this.#intervalMs / 10);
    this.#timer = setTimeout(() => void this.#round(), pauseMs);
    resolve(round);
  }

  async #read(records: readonly ContainerRecord[]): Promise<Map<string, Sample>> {
    const { now, repository, log } = this.#engine;
    const samples = new Map<string, Sample>();
    let host: HostUsage | undefined;
    for (const [index, { containerId }] of records.entries()) {
      if (index % readsAtOnce === 0) {
        if (index > 0) await turn();
        host = this.#observer.host();
      }
      const record = repository.get(containerId);
      if (record === undefined || host === undefined) continue;
      try {
        const usage = isLive(record.state) ? this.#observer.usage(record) : undefined;
        const previous = previousOf(this.#last.get(containerId), record);
        samples.set(containerId, { record, timeUnixNano: now(), host, usage, previous });
      } catch (err) {
        log.warn({ containerId, err }, 'what a container uses could not be read');
      }
    }
    return samples;
  }
}

interface Listener {
  readonly ids: ReadonlySet<string> | undefined;
  readonly all: boolean;
}

/** One that runs has no share of the processor before its second sample. */
function isComplete({ usage, previous }: Sample): boolean {
  return usage?.cpu === undefined || previous !== undefined;
}

/** Another run counts from zero again. */
function previousOf(sample: Sample | undefined, { run }: ContainerRecord): PreviousSample | undefined {
  const cpu = sample?.usage?.cpu;
  if (sample === undefined || cpu === undefined || sample.record.run !== run) return undefined;
  return { timeUnixNano: sample.timeUnixNano, host: sample.host, cpu };
}
