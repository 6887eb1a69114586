import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ContainerKilled, type Operations } from './operations.ts';

const pauseMs = 20;
/** After which a client gives an operation up, and the container with it. */
export const patienceMs = 30_000;

class GivenUp extends Error {}

/** One operation, from the first asking to success. */
export interface Waited {
  readonly operation: string;
  readonly ms: number;
  /** Date.now(). */
  readonly endedAt: number;
}

/** So many clients that create, start, exec into and remove containers without pause, and ask again what has failed. */
export class PatientLoad {
  readonly #operations: Operations;
  readonly #clients: Promise<void>[] = [];
  readonly #waited: Waited[] = [];
  readonly #reasons = new Map<string, number>();
  readonly #name = `load-${randomUUID().slice(0, 8)}`;
  #isStopping = false;
  calls = 0;
  failed = 0;
  killed = 0;
  givenUp = 0;
  rounds = 0;

  constructor(operations: Operations) {
    this.#operations = operations;
  }

  start(clients: number): void {
    for (let client = 0; client < clients; client += 1) {
      const work = this.#work(client);
      work.catch(() => {}); // stop() says it
      this.#clients.push(work);
    }
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#clients);
  }

  /** Of the operations that were done in the end, the longest that was under way at a time in between. */
  longestMeeting(from: number, to = Number.POSITIVE_INFINITY): Waited | undefined {
    return longest(this.#waited.filter(({ ms, endedAt }) => endedAt >= from && endedAt - ms <= to));
  }

  /** The longest that was done by then. */
  longestBefore(time: number): Waited | undefined {
    return longest(this.#waited.filter(({ endedAt }) => endedAt < time));
  }

  /** Why calls failed, and how often. */
  get reasons(): ReadonlyMap<string, number> {
    return this.#reasons;
  }

  async #work(client: number): Promise<void> {
    for (let round = 0; !this.#isStopping; round += 1) {
      let container: string | undefined;
      try {
        container = await this.#insist('create', () => this.#operations.create(`${this.#name}-${client}-${round}`));
        const id = container;
        await this.#insist('start', () => this.#operations.start(id));
        await this.#insist('exec', () => this.#operations.exec(id));
        this.rounds += 1;
      } catch (error) {
        if (error instanceof ContainerKilled) this.killed += 1;
        else if (error instanceof GivenUp) this.givenUp += 1;
        else throw error;
      }
      const id = container;
      if (id !== undefined) await this.#insist('remove', () => this.#operations.remove(id)).catch(() => this.givenUp++);
    }
  }

  async #insist<T>(operation: string, ask: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    for (;;) {
      this.calls += 1;
      try {
        const answer = await ask();
        this.#waited.push({ operation, ms: performance.now() - startedAt, endedAt: Date.now() });
        return answer;
      } catch (error) {
        if (error instanceof ContainerKilled) throw error;
        this.failed += 1;
        const reason = `${operation}: ${(error as Error).message}`;
        this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
        if (performance.now() - startedAt > patienceMs) throw new GivenUp(reason, { cause: error });
      }
      await sleep(pauseMs);
    }
  }
}

function longest(waited: readonly Waited[]): Waited | undefined {
  return waited.toSorted((a, b) => b.ms - a.ms)[0];
}
