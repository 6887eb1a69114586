import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { loadConfig, loadPaths, natsUrl, socketPath } from '@flotilla/config';
import { EventPublisher } from '@flotilla/events';
import { createLogger } from '@flotilla/log';
import { serve, takeTurn } from '@flotilla/rpc';
import { checkSchema, Outbox, openDatabase } from '@flotilla/store';
import { ContentStore } from './adapters/content-store.ts';
import { ImageCommitter } from './adapters/image-committer.ts';
import { ImageLoader } from './adapters/image-loader.ts';
import { ImageRecorder } from './adapters/image-recorder.ts';
import { ImageRemover } from './adapters/image-remover.ts';
import { LayerStore } from './adapters/layer-store.ts';
import { SnapshotStore } from './adapters/snapshot-store.ts';
import { SnapshotTrees } from './adapters/snapshot-trees.ts';
import { chooseSnapshotter } from './adapters/snapshotters/choose-snapshotter.ts';
import { Volumes } from './adapters/volumes.ts';
import { ImageSaver } from './archive/image-saver.ts';
import { configSchema } from './config.ts';
import { BlobDownloads } from './registry/blob-downloads.ts';
import { ImagePuller } from './registry/image-puller.ts';
import { ImagePusher } from './registry/image-pusher.ts';
import { registrySettings } from './registry/registry-settings.ts';
import { imageService } from './server/image-service.ts';
import { snapshotService } from './server/snapshot-service.ts';
import { snapshotTreeService } from './server/snapshot-tree-service.ts';
import { treeCopyService } from './server/tree-copy-service.ts';
import { usageService } from './server/usage-service.ts';
import { volumeService } from './server/volume-service.ts';
import { ImageStore } from './store/image-store.ts';
import { migrations } from './store/schema.ts';
import { TreeCopier } from './tree-copy/tree-copier.ts';
import { defaultUnpackLimits } from './unpack/limits.ts';

process.umask(0o077);
const paths = loadPaths();
const config = loadConfig(configSchema, 'image');
const log = createLogger({ service: 'image', level: config.log });
const terminated = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
const root = join(paths.root, 'image');
mkdirSync(root, { recursive: true, mode: 0o700 });
const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

await using stack = new AsyncDisposableStack();
const databasePath = join(root, 'image.db');
const check = () => checkSchema(databasePath, migrations);
stack.use(await takeTurn({ lockPath: `${databasePath}.lock`, check, log }));
const database = stack.use(openDatabase(databasePath, { migrations, durable: true }));
const outbox = new Outbox(database);
const publisher = stack.use(new EventPublisher({ outbox, source: 'image', natsUrl: () => natsUrl(paths), log }));
const limits = {
  ...defaultUnpackLimits,
  maxEntries: config.unpackMaxEntries,
  maxBytes: config.unpackMaxBytes,
  maxRatio: config.unpackMaxRatio,
};
const { snapshotter, because } = chooseSnapshotter(root, config.snapshotter);
log.info({ snapshotter: snapshotter.name, because }, 'snapshotter');
const content = new ContentStore(root);
const images = new ImageStore(database);
const layers = new LayerStore(root, database, limits, snapshotter);
const snapshots = new SnapshotStore(root, images, layers, snapshotter);
const volumes = new Volumes(root, database, publisher, snapshots);
const recorder = new ImageRecorder({ database, images, content, layers, publisher, log });
const loader = new ImageLoader({ content, layers, recorder, architecture, maxBytes: config.loadMaxBytes });
const settings = registrySettings(config, process.env);
const puller = new ImagePuller({
  content,
  layers,
  recorder,
  downloads: new BlobDownloads(content),
  settings,
  host: { os: 'linux', architecture },
});
const trees = new SnapshotTrees(snapshots);
const maxBytes = config.unpackMaxBytes;
const committer = new ImageCommitter({ images, content, layers, snapshots, trees, loader, recorder, maxBytes });
const pusher = new ImagePusher({ content, images, recorder, settings });
const saver = new ImageSaver({ images, content });
const remover = new ImageRemover({ database, images, snapshots, recorder, publisher });
recorder.collect();
publisher.start();
const implementations = [
  imageService({ images, content, loader, puller, pusher, saver, remover, snapshots, architecture }),
  volumeService(volumes),
  snapshotService({ images, snapshots, volumes, snapshotter: { name: snapshotter.name, because } }),
  usageService({ images, content, layers, snapshots }, volumes),
  snapshotTreeService({ images, trees, committer }),
  treeCopyService(new TreeCopier(root, snapshots, volumes)),
];
stack.use(await serve({ socketPath: socketPath(paths, 'image'), implementations, service: 'image', log }));
log.info({ root, images: images.list().length }, 'ready');
await terminated;
log.info({}, 'stopping');
await stack.disposeAsync();
// A connection that a library left behind must not keep a process alive that has stopped listening.
process.exit(0);
