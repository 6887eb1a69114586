import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { EventPublisher } from '@flotilla/events';
import { createLogger } from '@flotilla/log';
import { imageConfigSchema } from '@flotilla/oci/image';
import { Outbox, openDatabase } from '@flotilla/store';
import { ImageStore } from '../store/image-store.ts';
import { migrations } from '../store/schema.ts';
import { defaultUnpackLimits } from '../unpack/limits.ts';
import { ContentStore, once } from './content-store.ts';
import { ImageRecorder } from './image-recorder.ts';
import { LayerStore } from './layer-store.ts';
import { OverlayfsSnapshotter } from './snapshotters/overlayfs.ts';

test('what is leased stays when its image goes, for as long as somebody holds it', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'leases-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const log = createLogger({ service: 'image', level: 'silent' });
  using database = openDatabase(join(folder, 'image.db'), { migrations, durable: false });
  const outbox = new Outbox(database);
  const publisher = new EventPublisher({ outbox, source: 'image', natsUrl: () => 'nats://127.0.0.1:1', log });
  const [content, images] = [new ContentStore(folder), new ImageStore(database)];
  const layers = new LayerStore(folder, database, defaultUnpackLimits, new OverlayfsSnapshotter());
  const recorder = new ImageRecorder({ database, images, content, layers, publisher, log });
  await using ingest = content.openIngest();
  const file = await ingest.write(once(Buffer.from('a blob')));
  ingest.commit(file);
  const config = imageConfigSchema.parse({
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [] },
  });
  const image = {
    imageId: file.digest,
    manifestDigest: file.digest,
    blobs: [file.digest],
    diffIds: [],
    chainIds: [],
    layerSizes: [],
    sizeBytes: 0,
    config,
  };
  recorder.record([{ image, references: [] }], 'load');
  assert.equal(recorder.collect().bytes, 0, 'an image keeps its blobs');
  const [first, second] = [content.pin(image.blobs), content.pin(image.blobs)];
  database.transact(() => images.remove(image.imageId));
  assert.equal(recorder.collect().bytes, 0, 'a lease keeps them, too');
  first[Symbol.dispose]();
  assert.equal(content.read(file.digest).toString(), 'a blob');
  second[Symbol.dispose]();
  assert.equal(content.has(file.digest), false, 'the last lease is over, and nobody had to ask for a collection');
});
