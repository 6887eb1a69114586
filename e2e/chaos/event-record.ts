import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { SeenEvent } from '../harness/events.ts';
import { GrpcClient } from '../harness/grpc-client.ts';
import { codeOf } from './patient-client.ts';

/** Events by the engine's own stream, resumed behind the last one seen whenever it breaks. */
export class EventRecord implements AsyncDisposable {
  readonly seen: { readonly sequence: number; readonly id: string }[] = [];
  readonly wrong: string[] = [];
  readonly #ended = new AbortController();
  readonly #running: Promise<void>;

  constructor(socketPath: string) {
    this.#running = this.#read(socketPath);
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    await this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #read(socketPath: string): Promise<void> {
    using client = new GrpcClient(socketPath);
    while (!this.#ended.signal.aborted) {
      const after = this.seen.at(-1)?.sequence;
      const request = after === undefined ? { since_unix_nano: '0' } : { after_sequence: String(after) };
      try {
        for await (const answer of client.stream('EventService', 'StreamEvents', request, this.#ended.signal)) {
          const { event_id: id } = answer.event as { event_id: string };
          this.seen.push({ sequence: Number(answer.sequence), id });
        }
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        if (codeOf(error) !== status.UNAVAILABLE) this.wrong.push(`StreamEvents: ${(error as Error).message}`);
      }
      await sleep(50);
    }
  }
}

const told = new Set(['create', 'start', 'pause', 'unpause', 'rename', 'die', 'destroy']);

/** What is wrong with the stream itself and with the story that it tells of each of these containers. */
export function wrongEvents(
  events: readonly SeenEvent[],
  stories: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  const wrong: string[] = [];
  const ids = new Set<string>();
  for (const [i, { sequence, id, action }] of events.entries()) {
    if (i > 0 && sequence <= (events[i - 1]?.sequence ?? 0)) wrong.push(`sequence ${sequence} does not increase`);
    if (ids.has(id)) wrong.push(`event ${id} (${action}) came twice`);
    ids.add(id);
  }
  const byContainer = Map.groupBy(events, ({ actorId }) => actorId);
  for (const [container, story] of stories) {
    const is = (byContainer.get(container) ?? []).map(({ action }) => action).filter((action) => told.has(action));
    if (is.join() !== story.join()) {
      wrong.push(`events of ${container.slice(0, 12)}: ${is.join() || 'none'}; ${story.join()} was expected`);
    }
  }
  return wrong;
}

/** Whether two ways to read the same stream told the same. */
export function wrongCopy(stored: readonly SeenEvent[], streamed: EventRecord): readonly string[] {
  const text = (events: readonly { sequence: number; id: string }[]) =>
    events.map(({ sequence, id }) => `${sequence} ${id}`).join('\n');
  if (text(stored) === text(streamed.seen)) return streamed.wrong;
  return [
    ...streamed.wrong,
    `gRPC told ${streamed.seen.length} events, NATS stores ${stored.length}, or in another order`,
  ];
}
