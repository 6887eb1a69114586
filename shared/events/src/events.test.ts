import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@flotilla/log';
import { StreamEventsRequest, type StreamEventsResponse } from '@flotilla/proto/flotilla/v1/event';
import { type Database, Outbox, openDatabase, outboxMigration } from '@flotilla/store';
import { freePort } from '@flotilla/testing';
import { connectNats } from './connect-nats.ts';
import { EventPublisher } from './event-publisher.ts';
import { eventStream } from './event-stream.ts';
import { streamEvents } from './stream-events.ts';

// A real nats-server with JetStream, killed and started again on the same port and data.
const folder = mkdtempSync(join(tmpdir(), 'flotilla-events-'));
const log = createLogger({ service: 'test', level: 'silent' });
let port = 0;
let server: ChildProcess | undefined;
let database: Database;
const url = () => `nats://127.0.0.1:${port}`;

async function startNats(): Promise<void> {
  server = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(port), '-js', '-sd', join(folder, 'nats')], {
    stdio: 'ignore',
  });
  for (;;) {
    try {
      await (await connectNats(url(), { timeout: 200 })).close();
      return;
    } catch {
      await sleep(30);
    }
  }
}

async function killNats(): Promise<void> {
  if (server!.exitCode !== null || server!.signalCode !== null) return;
  const exited = once(server!, 'exit');
  server!.kill('SIGKILL');
  await exited;
}

before(async () => {
  port = await freePort();
  database = openDatabase(join(folder, 'a.db'), { migrations: [outboxMigration], durable: false });
  await startNats();
});
after(async () => {
  await killNats();
  database[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

let time = 1_000_000_000_000_000_000n;
function announce(publisher: EventPublisher, action: string, attributes: Record<string, string> = {}): void {
  database.transact(() =>
    publisher.announce({ type: 'container', action, actorId: 'c'.repeat(64), attributes, timeUnixNano: time++ }),
  );
}

function publish(): { publisher: EventPublisher; outbox: Outbox } {
  const outbox = new Outbox(database);
  return { outbox, publisher: new EventPublisher({ outbox, source: 'supervisor', natsUrl: url, log }) };
}

async function drained(outbox: Outbox): Promise<void> {
  for (let i = 0; outbox.count() > 0; i++) {
    if (i > 500) assert.fail(`${outbox.count()} events were not published`);
    await sleep(10);
  }
}

async function read(request: Partial<StreamEventsRequest>, count: number): Promise<StreamEventsResponse[]> {
  const found: StreamEventsResponse[] = [];
  const all = StreamEventsRequest.fromPartial({ sinceUnixNano: 0n, ...request });
  for await (const one of streamEvents({ natsUrl: url, request: all, signal: AbortSignal.timeout(5_000) })) {
    found.push(one);
    if (found.length === count) break;
  }
  return found;
}

test('events arrive in order, once each, though NATS is killed in the middle', async () => {
  const { publisher, outbox } = publish();
  publisher.start();
  for (let i = 0; i < 20; i++) announce(publisher, 'start', { n: String(i) });
  await sleep(20);
  await killNats();
  for (let i = 20; i < 40; i++) announce(publisher, 'start', { n: String(i) });
  await startNats();
  await drained(outbox);
  await publisher[Symbol.asyncDispose]();
  const seen = await read({}, 40);
  assert.deepEqual(
    seen.map(({ event }) => event?.attributes.n),
    Array.from({ length: 40 }, (_, n) => String(n)),
  );
  assert.ok(seen.every(({ sequence }, i) => i === 0 || sequence > seen[i - 1]!.sequence));
});

test('an event whose acknowledgement was lost is not published again, even after the duplicate window', async () => {
  const nats = await connectNats(url());
  const before = (await (await nats.jetstreamManager()).streams.info(eventStream)).state.messages;
  const first = publish();
  first.publisher.start();
  announce(first.publisher, 'die');
  await drained(first.outbox);
  await first.publisher[Symbol.asyncDispose]();
  // The crash: the row is still there. The window is over: the id counts for nothing any more.
  const manager = await nats.jetstreamManager();
  const last = await manager.streams.getMessage(eventStream, { last_by_subj: 'flotilla.events.container.>' });
  await manager.streams.update(eventStream, { duplicate_window: 100_000_000 });
  await sleep(300);
  const second = publish();
  second.outbox.add({ eventId: last.header.get('Nats-Msg-Id'), subject: last.subject, payload: last.string() });
  announce(second.publisher, 'destroy');
  second.publisher.start();
  await drained(second.outbox);
  await second.publisher[Symbol.asyncDispose]();
  assert.equal((await manager.streams.info(eventStream)).state.messages, before + 2);
  await nats.close();
});

test('nothing is told that power loss could make the one who told it forget', async () => {
  const outbox = new Outbox(database);
  const flushed = Promise.withResolvers<void>();
  let asked = 0;
  const flush = () => {
    asked++;
    return flushed.promise;
  };
  await using publisher = new EventPublisher({ outbox, flush, source: 'supervisor', natsUrl: url, log });
  publisher.start();
  announce(publisher, 'rename');
  while (asked === 0) await sleep(10);
  await sleep(50);
  assert.equal(outbox.count(), 1);
  flushed.resolve();
  await drained(outbox);
});

test('a transaction that fails announces nothing', () => {
  const { publisher, outbox } = publish();
  assert.throws(() =>
    database.transact(() => {
      publisher.announce({ type: 'container', action: 'start', actorId: 'x', attributes: {}, timeUnixNano: 1n });
      throw new Error('no');
    }),
  );
  assert.equal(outbox.count(), 0);
});

test('history resumes behind a sequence and filters by action, actor and label', async () => {
  const all = await read({}, 42);
  const tenth = all[9]!;
  assert.equal((await read({ afterSequence: tenth.sequence }, 1))[0]?.sequence, all[10]?.sequence);
  assert.equal((await read({ actions: ['die'] }, 1))[0]?.event?.action, 'die');
  assert.equal((await read({ labels: ['n=7'] }, 1))[0]?.event?.attributes.n, '7');
  assert.equal((await read({ actors: ['ccc'] }, 1)).length, 1);
  const until = BigInt(Date.now()) * 1_000_000n;
  assert.deepEqual(await read({ actors: ['nobody'], untilUnixNano: until }, 1), []);
});

test('a stream without a start begins now', async () => {
  const { publisher, outbox } = publish();
  publisher.start();
  const seen = read({ sinceUnixNano: undefined }, 1);
  await sleep(300);
  announce(publisher, 'pause');
  await drained(outbox);
  await publisher[Symbol.asyncDispose]();
  assert.equal((await seen)[0]?.event?.action, 'pause');
});

test('a reader of one type is sent nothing else', async () => {
  const end = new AbortController();
  const request = StreamEventsRequest.fromPartial({ types: ['image'], sinceUnixNano: 0n });
  const reading = Array.fromAsync(streamEvents({ natsUrl: url, request, signal: end.signal }));
  const nats = await connectNats(url());
  const { consumers } = await nats.jetstreamManager();
  let places = await consumers.list(eventStream).next();
  for (let i = 0; i < 500 && places.length === 0; i++) {
    await sleep(10);
    places = await consumers.list(eventStream).next();
  }
  assert.deepEqual(
    places.map(({ config }) => config.filter_subject),
    ['flotilla.events.image.>'],
  );
  end.abort();
  assert.deepEqual(await reading, []);
  await nats.close();
});

test('no reader leaves its place behind', async () => {
  assert.equal((await read({}, 1)).length, 1);
  assert.deepEqual(await read({ actors: ['nobody'], untilUnixNano: BigInt(Date.now() + 200) * 1_000_000n }, 1), []);
  const nats = await connectNats(url());
  assert.equal((await (await nats.jetstreamManager()).streams.info(eventStream)).state.consumer_count, 0);
  await nats.close();
});

test('a sequence that is no longer stored is refused, and the oldest is named', async () => {
  const nats = await connectNats(url());
  await (await nats.jetstreamManager()).streams.purge(eventStream, { keep: 1 });
  await nats.close();
  await assert.rejects(read({ afterSequence: 3n }, 1), { reason: 'EVENT_SEQUENCE_EXPIRED', code: 'out_of_range' });
});

test('while NATS is away a reader is told so', async () => {
  await killNats();
  await assert.rejects(read({}, 1), { reason: 'NATS_UNREACHABLE' });
  await startNats();
});

test('a reader whose question is under way when NATS is killed is told so, too', async () => {
  for (let pauseMs = 4; pauseMs < 64; pauseMs += 4) {
    const reads = Array.from({ length: 8 }, () => read({ untilUnixNano: 1n }, 1));
    const ends = Promise.allSettled(reads);
    await sleep(pauseMs);
    await killNats();
    const reasons = (await ends).flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
    for (const error of reasons) assert.equal(error.reason, 'NATS_UNREACHABLE', error.stack);
    await startNats();
  }
});

test('a reader who waits while the stream is deleted is told so', async () => {
  const reading = assert.rejects(read({ sinceUnixNano: undefined }, 1), { reason: 'NATS_UNREACHABLE' });
  await sleep(300);
  const nats = await connectNats(url());
  await (await nats.jetstreamManager()).streams.delete(eventStream);
  await nats.close();
  await reading;
});

async function allStored(): Promise<string[]> {
  const nats = await connectNats(url());
  const { messages } = (await (await nats.jetstreamManager()).streams.info(eventStream)).state;
  await nats.close();
  return messages === 0 ? [] : (await read({}, messages)).map(({ event }) => event?.attributes.n ?? '');
}

const losses: readonly (readonly [string, () => Promise<void>])[] = [
  [
    'its stream is deleted',
    async () => {
      const nats = await connectNats(url());
      await (await nats.jetstreamManager()).streams.delete(eventStream);
      await nats.close();
    },
  ],
  [
    'its folder is wiped while it is down',
    async () => {
      await killNats();
      rmSync(join(folder, 'nats'), { recursive: true });
      await startNats();
    },
  ],
];
for (const [what, lose] of losses) {
  test(`NATS loses its data (${what}): what waits and what comes arrives once, an old place is refused`, async () => {
    const { publisher, outbox } = publish();
    publisher.start();
    for (let i = 0; i < 5; i++) announce(publisher, 'start', { n: `before ${i}` });
    await drained(outbox);
    const old = (await read({ labels: ['n=before 4'] }, 1))[0]!.sequence;
    await publisher[Symbol.asyncDispose]();

    for (let i = 0; i < 3; i++) announce(publisher, 'start', { n: `waiting ${i}` });
    await lose();
    const next = publish();
    next.publisher.start();
    announce(next.publisher, 'start', { n: 'new 0' });
    await drained(next.outbox);
    assert.deepEqual(await allStored(), ['waiting 0', 'waiting 1', 'waiting 2', 'new 0']);
    await assert.rejects(read({ afterSequence: old }, 1), { reason: 'EVENT_SEQUENCE_EXPIRED' });
    await next.publisher[Symbol.asyncDispose]();
  });
}

test('a publisher that is at work when the stream is deleted makes it again', async () => {
  const { publisher, outbox } = publish();
  publisher.start();
  announce(publisher, 'start', { n: 'first' });
  await drained(outbox);
  await losses[0]![1]();
  for (let i = 0; i < 3; i++) announce(publisher, 'start', { n: `after ${i}` });
  await drained(outbox);
  assert.deepEqual(await allStored(), ['after 0', 'after 1', 'after 2']);
  await publisher[Symbol.asyncDispose]();
});
