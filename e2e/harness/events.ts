import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connect, DeliverPolicy } from 'nats';
import type { Engine } from './engine.ts';
import { waitFor } from './wait.ts';

/** A line of the event consumer. */
export interface SeenEvent {
  readonly sequence: number;
  readonly id: string;
  readonly type: string;
  readonly action: string;
  readonly actorId: string;
  readonly attributes?: Readonly<Record<string, string>>;
}

/** Every event in the stream, read from NATS itself, oldest first. */
export async function storedEvents(engine: Engine): Promise<readonly SeenEvent[]> {
  const { username: user, password: pass, host: servers } = new URL(engine.natsUrl());
  const nats = await connect({ servers, user, pass });
  try {
    const { state } = await (await nats.jetstreamManager()).streams.info('FLOTILLA_EVENTS');
    if (state.messages === 0) return [];
    const start = { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: 1 };
    const consumer = await nats.jetstream().consumers.get('FLOTILLA_EVENTS', start);
    const events: SeenEvent[] = [];
    for await (const message of await consumer.consume()) {
      const { id, data } = message.json<{ id: string; data: Omit<SeenEvent, 'sequence' | 'id'> }>();
      const { type, action, actorId, attributes } = data;
      events.push({ sequence: message.seq, id, type, action, actorId, ...(attributes && { attributes }) });
      if (message.seq === state.last_seq) break;
    }
    return events;
  } finally {
    await nats.close();
  }
}

/** Actions of a container's events so far, waiting until the last one is `last`. */
export function actionsOf(engine: Engine, containerId: string, last: string): Promise<readonly string[]> {
  return waitFor(`the event ${last} of ${containerId}`, async () => {
    const events = await storedEvents(engine);
    const actions = events.filter(({ actorId }) => actorId === containerId).map(({ action }) => action);
    return actions.includes(last) ? actions : undefined;
  });
}

/** The event consumer as a process of its own, to be stopped in the middle. */
export class ConsumerProcess {
  readonly seen: SeenEvent[] = [];
  readonly #child: ChildProcess;

  constructor(engine: Engine, lastSeen?: number) {
    const program = fileURLToPath(new URL('../event-consumer.ts', import.meta.url));
    const args = lastSeen === undefined ? [program] : [program, String(lastSeen)];
    const env = { ...process.env, NATS_URL: engine.natsUrl() };
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => this.seen.push(JSON.parse(line) as SeenEvent));
  }

  async kill(): Promise<void> {
    const gone = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    await gone;
  }
}
