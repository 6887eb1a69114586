import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { currentRequestId, type Logger } from '@flotilla/log';
import { Event } from '@flotilla/proto/flotilla/v1/event';
import type { Outbox, OutboxRow } from '@flotilla/store';
import { CloudEvent } from 'cloudevents';
import { headers, type JetStreamClient, type JetStreamManager, type NatsConnection } from 'nats';
import { connectNats } from './connect-nats.ts';
import { ensureEventStream, eventStream, eventSubject, typeSubject } from './event-stream.ts';

/** Something that happened, as its owner tells of it. */
export interface DomainEvent {
  /** Unique for ever; made up when absent. */
  readonly eventId?: string;
  readonly type: 'container' | 'image' | 'network' | 'volume' | 'service';
  /** Docker's words. */
  readonly action: string;
  readonly actorId: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** Nanoseconds since the Unix epoch. */
  readonly timeUnixNano: bigint;
}

export interface EventPublisherOptions {
  readonly outbox: Outbox;
  /**
   * Makes what was committed survive power loss; absent where each commit does. What is told must not be forgotten by the
   * one who told it, or it would be told once more, as something new.
   */
  readonly flush?: () => Promise<void>;
  /** The service; nobody else publishes its types. */
  readonly source: 'supervisor' | 'image' | 'network';
  /** Asked at each connection. */
  readonly natsUrl: () => string;
  readonly log: Logger;
}

const typesOf = { supervisor: ['container'], image: ['image', 'volume'], network: ['network'] } as const;
const pauseMs = 250;
const batch = 64;

/**
 * Tells the world: rows are written with the change they tell of and go, in order, once JetStream has acknowledged them.
 * NATS may be away for days. Each is published once: JetStream drops a repeated message id for some minutes, and after a
 * new connection the last message of our own types says what had arrived although its acknowledgement did not.
 */
export class EventPublisher implements AsyncDisposable {
  readonly #options: EventPublisherOptions;
  readonly #stopped = new AbortController();
  #wake = Promise.withResolvers<void>();
  #running: Promise<void> | undefined;

  constructor(options: EventPublisherOptions) {
    this.#options = options;
    options.outbox.onAdded(() => this.#wake.resolve());
  }

  /** Writes the event to the outbox: call it in the transaction of the change. */
  announce(event: DomainEvent): void {
    const eventId = event.eventId ?? randomUUID();
    const requestId = currentRequestId();
    const cloudEvent = new CloudEvent({
      id: eventId,
      source: `/flotilla/${this.#options.source}`,
      type: `flotilla.${event.type}.${event.action.split(':', 1)[0]}`,
      ...(event.actorId === '' ? {} : { subject: event.actorId }), // CloudEvents has no empty subject
      time: new Date(Number(event.timeUnixNano / 1_000_000n)).toISOString(),
      datacontenttype: 'application/json',
      data: Event.toJSON(Event.fromPartial({ ...event, attributes: { ...event.attributes }, eventId })),
      ...(requestId === undefined ? {} : { requestid: requestId }),
    });
    this.#options.outbox.add({
      eventId,
      subject: eventSubject(event.type, event.action),
      payload: JSON.stringify(cloudEvent),
    });
  }

  /** Relays from now on. */
  start(): void {
    this.#running ??= this.#relay();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    this.#wake.resolve();
    await this.#running;
  }

  async #relay(): Promise<void> {
    const { log } = this.#options;
    let told = false;
    while (!this.#stopped.signal.aborted) {
      try {
        await this.#relayOnce();
        told = false;
      } catch (err) {
        if (!told) log.warn({ err, waiting: this.#options.outbox.count() }, 'events wait for NATS');
        told = true;
        await sleep(pauseMs, undefined, { signal: this.#stopped.signal }).catch(() => {});
      }
    }
  }

  /** Relays until the connection breaks or the publisher stops. */
  async #relayOnce(): Promise<void> {
    const nats = await connectNats(this.#options.natsUrl(), { reconnect: false });
    const closed = nats.closed().then(() => this.#wake.resolve());
    const stop = () => void nats.close();
    this.#stopped.signal.addEventListener('abort', stop, { once: true });
    try {
      if (this.#stopped.signal.aborted) return;
      const manager = await nats.jetstreamManager();
      await ensureEventStream(manager, nats.info?.version ?? '');
      await this.#forgetDelivered(manager);
      await this.#publishAll(nats, nats.jetstream());
    } finally {
      this.#stopped.signal.removeEventListener('abort', stop);
      await nats.close();
      await closed;
    }
  }

  async #publishAll(nats: NatsConnection, jetStream: JetStreamClient): Promise<void> {
    const { outbox, log } = this.#options;
    while (!this.#stopped.signal.aborted && !nats.isClosed()) {
      this.#wake = Promise.withResolvers();
      const rows = outbox.oldest(batch);
      if (rows.length > 0) await this.#options.flush?.();
      for (const row of rows) {
        // One by one: a failure in the middle must not let a later event overtake an earlier one.
        await publish(jetStream, row);
        outbox.removeThrough(row.sequence);
        log.debug({ eventId: row.eventId, subject: row.subject }, 'event published');
      }
      if (rows.length === 0) await this.#wake.promise;
    }
  }

  async #forgetDelivered(manager: JetStreamManager): Promise<void> {
    const { outbox, source } = this.#options;
    const last = await Promise.all(typesOf[source].map((type) => lastEventId(manager, type)));
    const delivered = new Set(last.filter((id) => id !== undefined));
    const waiting = outbox.oldest(outbox.count());
    const through = waiting.findLast(({ eventId }) => delivered.has(eventId));
    if (through !== undefined) outbox.removeThrough(through.sequence);
  }
}

async function publish(jetStream: JetStreamClient, { eventId, subject, payload }: OutboxRow): Promise<void> {
  const header = headers();
  header.set('content-type', 'application/cloudevents+json');
  await jetStream.publish(subject, payload, { msgID: eventId, headers: header, timeout: 5_000 });
}

async function lastEventId(manager: JetStreamManager, type: string): Promise<string | undefined> {
  try {
    const message = await manager.streams.getMessage(eventStream, { last_by_subj: typeSubject(type) });
    return message.header.get('Nats-Msg-Id');
  } catch (error) {
    if ((error as { api_error?: { code: number } }).api_error?.code === 404) return undefined;
    throw error;
  }
}
