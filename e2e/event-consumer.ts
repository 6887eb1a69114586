import process from 'node:process';
import { connect, DeliverPolicy } from 'nats';

// Prints the engine's events, one JSON line each, for as long as it runs: `NATS_URL=… event-consumer.ts [SEQUENCE]`.
// With the sequence of the last line that was seen it goes on behind it, so that nothing is missed or seen twice,
// however long it was stopped. It knows nothing of the engine but this stream's name, and needs a NATS client alone.
interface EventData {
  readonly type: string;
  readonly action: string;
  readonly actorId: string;
  readonly attributes?: Readonly<Record<string, string>>;
}

const lastSeen = Number(process.argv[2] ?? 0);
const url = new URL(process.env.NATS_URL ?? 'nats://127.0.0.1:4222');
const nats = await connect({ servers: url.host, user: url.username, pass: url.password });

const start = { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: lastSeen + 1 };
const consumer = await nats.jetstream().consumers.get('FLOTILLA_EVENTS', start);

for await (const message of await consumer.consume()) {
  // The payload is a CloudEvent; its data is the event itself (flotilla.v1.Event).
  const { id, data } = message.json<{ id: string; data: EventData }>();
  const { type, action, actorId, attributes } = data;
  console.log(JSON.stringify({ sequence: message.seq, id, type, action, actorId, attributes }));
}
