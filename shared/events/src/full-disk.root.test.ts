import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '@flotilla/log';
import { StreamEventsRequest } from '@flotilla/proto/flotilla/v1/event';
import { Outbox, openDatabase, outboxMigration } from '@flotilla/store';
import { freePort } from '@flotilla/testing';
import { connectNats } from './connect-nats.ts';
import { EventPublisher } from './event-publisher.ts';
import { streamEvents } from './stream-events.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'mounts a file system: FLOTILLA_ROOT_TESTS=1 runs it';
const log = createLogger({ service: 'test', level: 'silent' });

/** A real nats-server whose data is on a file system of 16 MiB. */
async function startNats(port: number, store: string): Promise<ChildProcess> {
  // As the engine configures it: else NATS promises no more than is free, and refuses the stream.
  const settings = { listen: `127.0.0.1:${port}`, jetstream: { store_dir: store, max_file_store: 2 ** 31 } };
  const config = join(store, '../../nats.conf');
  writeFileSync(config, JSON.stringify(settings));
  const server = spawn('nats-server', ['--config', config], { stdio: 'ignore' });
  for (;;) {
    try {
      await (await connectNats(`nats://127.0.0.1:${port}`, { timeout: 200 })).close();
      return server;
    } catch {
      await sleep(30);
    }
  }
}

/** Writes until nothing more fits. */
function fill(path: string): void {
  try {
    execFileSync('dd', ['if=/dev/zero', `of=${path}`, 'bs=4k'], { stdio: 'ignore' });
  } catch {
    // no space left: that is what was wanted
  }
}

test('with the disk of NATS full events wait, and arrive once, in order, when there is room', { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-full-'));
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  writeFileSync(join(folder, 'image'), '');
  execFileSync('truncate', ['--size=16M', join(folder, 'image')]);
  execFileSync('mkfs.ext4', ['-q', '-m', '0', join(folder, 'image')]);
  execFileSync('mount', ['-o', 'loop', join(folder, 'image'), disk]);
  const port = await freePort();
  const natsUrl = () => `nats://127.0.0.1:${port}`;
  const server = await startNats(port, join(disk, 'nats'));
  using database = openDatabase(join(folder, 'a.db'), { migrations: [outboxMigration], durable: false });
  const outbox = new Outbox(database);
  const publisher = new EventPublisher({ outbox, source: 'supervisor', natsUrl, log });
  const announce = (n: number) =>
    database.transact(() =>
      publisher.announce({
        type: 'container',
        action: 'start',
        actorId: 'c',
        attributes: { n: String(n), padding: 'x'.repeat(20_000) },
        timeUnixNano: BigInt(n + 1),
      }),
    );
  try {
    publisher.start();
    for (let n = 0; n < 5; n += 1) announce(n);
    for (let tries = 0; outbox.count() > 0 && tries < 500; tries += 1) await sleep(20);
    assert.equal(outbox.count(), 0);
    fill(join(disk, 'ballast'));
    for (let n = 5; n < 25; n += 1) announce(n);
    await sleep(2_000);
    assert.ok(outbox.count() > 0, 'events wait while nothing can be stored');
    rmSync(join(disk, 'ballast'));
    for (let tries = 0; outbox.count() > 0 && tries < 1_000; tries += 1) await sleep(20);
    assert.equal(outbox.count(), 0, 'events go once there is room');
    const seen: string[] = [];
    const request = StreamEventsRequest.fromPartial({ sinceUnixNano: 0n });
    for await (const { event } of streamEvents({ natsUrl, request, signal: AbortSignal.timeout(10_000) })) {
      seen.push(event?.attributes.n ?? '');
      if (seen.length === 25) break;
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 25 }, (_, n) => String(n)),
    );
  } finally {
    await publisher[Symbol.asyncDispose]();
    const exited = once(server, 'exit');
    server.kill('SIGKILL');
    await exited;
    execFileSync('umount', [disk]);
    rmSync(folder, { recursive: true });
  }
});
