import process from 'node:process';
import { connect, DeliverPolicy, type OrderedConsumerOptions } from 'nats';

// Prints the engine's events, one JSON line each, for as long as it runs: `NATS_URL=… event-consumer.ts [SEQUENCE]`.
// With the sequence of the last line that was seen it goes on behind it, so that nothing is missed or seen twice,
// however long it was stopped. It knows nothing of the engine but this stream's name, and needs a NATS client alone.
const [lastSeen] = process.argv.slice(2);
const url = new URL(process.env.NATS_URL ?? 'nats://127.0.0.1:4222');
const { username: user, password: pass, host: servers } = url;
const nats = await connect({ servers, user, pass });

const start: Partial<OrderedConsumerOptions> =
  lastSeen === undefined
    ? { deliver_policy: DeliverPolicy.All }
    : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Number(lastSeen) + 1 };
const consumer = await nats.jetstream().consumers.get('FLOTILLA_EVENTS', start);

for await (const message of await consumer.consume()) {
  // The payload is a CloudEvent; its data is the event itself (flotilla.v1.Event).
  const { id, data } = message.json<{ id: string; data: { type: string; action: string; actorId: string } }>();
  const { type, action, actorId } = data;
  console.log(JSON.stringify({ sequence: message.seq, id, type, action, actorId }));
}
