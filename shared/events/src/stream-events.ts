import { FlotillaError } from '@flotilla/errors';
import { Event, type StreamEventsRequest, StreamEventsResponse } from '@flotilla/proto/flotilla/v1/event';
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerMessages,
  DeliverPolicy,
  ErrorCode,
  type NatsConnection,
  NatsError,
  nanos,
  type StreamState,
} from 'nats';
import { connectNats, natsUnreachable } from './connect-nats.ts';
import { matchesFilters } from './event-filter.ts';
import { ensureEventStream, eventStream, typeSubject } from './event-stream.ts';

export interface StreamEventsOptions {
  readonly natsUrl: () => string;
  readonly request: StreamEventsRequest;
  /** Ends the stream. */
  readonly signal: AbortSignal;
}

/**
 * Stored events, then, unless `until` is given, those to come. OUT_OF_RANGE / EVENT_SEQUENCE_EXPIRED when what should
 * come next is no longer stored; UNAVAILABLE / NATS_UNREACHABLE when NATS goes: resume with the last sequence seen.
 */
export async function* streamEvents(options: StreamEventsOptions): AsyncGenerator<StreamEventsResponse> {
  const { request, signal } = options;
  const url = options.natsUrl();
  const nats = await connectNats(url, { reconnect: false });
  let lost = false;
  let place: string | undefined;
  void nats.closed().then(() => {
    lost = true;
  });
  try {
    const manager = await nats.jetstreamManager();
    await ensureEventStream(manager, nats.info?.version ?? '');
    const { state } = await manager.streams.info(eventStream);
    // Behind the last one there is nothing to resume: the history was lost, and the sequences began anew.
    const { afterSequence } = request;
    if (
      afterSequence !== 0n &&
      (afterSequence + 1n < BigInt(state.first_seq) || afterSequence > BigInt(state.last_seq))
    ) {
      throw sequenceExpired(afterSequence, state);
    }
    if (request.untilUnixNano !== undefined && state.messages === 0 && isPast(request.untilUnixNano)) return;
    // Not the library's ordered consumer: where NATS goes while one is made, it tries again for a quarter of an hour.
    const made = await manager.consumers.add(eventStream, { ...readOnce, ...startOf(request, state.last_seq) });
    place = made.name;
    if (made.num_pending === 0 && request.untilUnixNano !== undefined && isPast(request.untilUnixNano)) return;
    const consumer = await nats.jetstream().consumers.get(eventStream, place);
    yield* read(nats, await consumer.consume({ max_messages: 256, abort_on_missing_resource: true }), request, signal);
    if (lost && !signal.aborted) throw natsUnreachable(new URL(url).host);
  } catch (error) {
    // A question that was under way when NATS went has timed out, says its client. A stream or a place in it that went is
    // told the same way: whoever resumes learns whether what comes next is still stored.
    if (error instanceof NatsError && (lost || isUnanswered(error) || isGone(error))) {
      throw natsUnreachable(new URL(url).host, error);
    }
    throw error;
  } finally {
    if (place !== undefined && !lost) await forget(nats, place);
    await nats.close();
  }
}

/** Where it cannot, NATS does, later. */
async function forget(nats: NatsConnection, place: string): Promise<void> {
  await (await nats.jetstreamManager({ checkAPI: false })).consumers.delete(eventStream, place).catch(() => {});
}

/** A reader's place in the stream, kept by NATS in memory, and forgotten when nobody has asked for so long. */
const readOnce: Partial<ConsumerConfig> = {
  ack_policy: AckPolicy.None,
  max_deliver: 1,
  mem_storage: true,
  inactive_threshold: nanos(5 * 60 * 1_000),
};

/** Nobody has answered: NATS is going, or its store is not there yet. */
function isUnanswered({ code }: NatsError): boolean {
  return [ErrorCode.Timeout, ErrorCode.NoResponders, ErrorCode.ConnectionClosed, ErrorCode.Disconnect].some(
    (one) => one === code,
  );
}

/** The stream was deleted, or the reader's place in it was: it did not ask for too long. */
function isGone({ message }: NatsError): boolean {
  return ['stream not found', 'consumer not found', 'consumer deleted'].includes(message.toLowerCase());
}

async function* read(
  nats: NatsConnection,
  messages: ConsumerMessages,
  request: StreamEventsRequest,
  signal: AbortSignal,
): AsyncGenerator<StreamEventsResponse> {
  const stop = () => messages.stop();
  const { untilUnixNano: until } = request;
  // Of what is past already, the last message ends it: a stop now would lose what is on its way.
  const waits = until !== undefined && !isPast(until);
  const timer = waits ? setTimeout(stop, Math.min(millisecondsUntil(until), 0x7fffffff)) : undefined;
  void nats.closed().then(stop);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    for await (const message of messages) {
      const event = Event.fromJSON((message.json() as { data: unknown }).data);
      if (until !== undefined && event.timeUnixNano >= until) return;
      if (matchesFilters(event, request)) {
        yield StreamEventsResponse.fromPartial({ sequence: BigInt(message.seq), event });
      }
      if (until !== undefined && isPast(until) && message.info.pending === 0) return;
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    // Its close would wait for the iteration that has just ended.
    messages.stop();
  }
}

function startOf(request: StreamEventsRequest, lastSequence: number): Partial<ConsumerConfig> {
  // One subject alone: NATS before 2.10 knows no list of them, and then nothing comes at all. More are filtered here.
  const [type, ...others] = request.types;
  const filter: Partial<ConsumerConfig> =
    type === undefined || others.length > 0 ? {} : { filter_subject: typeSubject(type) };
  if (request.afterSequence !== 0n) {
    return { ...filter, deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Number(request.afterSequence) + 1 };
  }
  if (request.sinceUnixNano !== undefined) {
    const since = new Date(Number(request.sinceUnixNano / 1_000_000n)).toISOString();
    return { ...filter, deliver_policy: DeliverPolicy.StartTime, opt_start_time: since };
  }
  // Behind the last message that was there when the call began: nothing falls between it and the subscription.
  return { ...filter, deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: lastSequence + 1 };
}

function millisecondsUntil(unixNano: bigint): number {
  return Math.max(Number(unixNano / 1_000_000n) - Date.now(), 0);
}

function isPast(unixNano: bigint): boolean {
  return millisecondsUntil(unixNano) === 0;
}

function sequenceExpired(after: bigint, { first_seq: first, last_seq: last }: StreamState): FlotillaError {
  return new FlotillaError(
    'out_of_range',
    `what came after event ${after} is not stored; stored are ${first} to ${last}`,
    {
      reason: 'EVENT_SEQUENCE_EXPIRED',
      metadata: { afterSequence: String(after), firstSequence: String(first), lastSequence: String(last) },
    },
  );
}
