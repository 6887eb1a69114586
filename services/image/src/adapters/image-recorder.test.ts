import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { EventPublisher } from '@flotilla/events';
import { createLogger } from '@flotilla/log';
import { Outbox, openDatabase } from '@flotilla/store';
import { ImageStore } from '../store/image-store.ts';
import { migrations } from '../store/schema.ts';
import { defaultUnpackLimits } from '../unpack/limits.ts';
import { ContentStore } from './content-store.ts';
import { ImageRecorder } from './image-recorder.ts';
import { LayerStore } from './layer-store.ts';
import { OverlayfsSnapshotter } from './snapshotters/overlayfs.ts';

test('a collection that cannot write says so, and does not end the service', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'image-recorder-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const lines: string[] = [];
  const log = createLogger({
    service: 'image',
    level: 'warn',
    destination: { write: (line) => void lines.push(line) },
  });
  using database = openDatabase(join(folder, 'image.db'), { migrations, durable: false });
  const outbox = new Outbox(database);
  database.exec("INSERT INTO layers (chain_id, size_bytes) VALUES ('sha256:1', 1)");
  const layers = new LayerStore(folder, database, defaultUnpackLimits, new OverlayfsSnapshotter());
  const publisher = new EventPublisher({ outbox, source: 'image', natsUrl: () => 'nats://127.0.0.1:1', log });
  const content = new ContentStore(folder);
  const recorder = new ImageRecorder({ database, images: new ImageStore(database), content, layers, publisher, log });
  database.exec('PRAGMA query_only = 1');
  recorder.collect();
  assert.match(lines.join(''), /what no image needs could not be removed/);
});
