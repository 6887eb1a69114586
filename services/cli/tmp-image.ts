import { mkdirSync, rmSync, readFileSync } from 'node:fs';
import { once } from 'node:events';
import { loadPaths, socketPath } from '../../shared/config/src/index.ts';
import { createLogger } from '../../shared/log/src/index.ts';
import { serve, implement } from '../../shared/rpc/src/index.ts';
import { SnapshotServiceService } from '../../proto/gen/flotilla/image/v1/snapshot.ts';
import { Image, ImageServiceService } from '../../proto/gen/flotilla/v1/image.ts';
const paths = loadPaths();
const busy = `${paths.root}/busy`;
const image = Image.fromPartial({ imageId: `sha256:${'a'.repeat(64)}`, references: ['busybox:latest'], config: { cmd: ['sh'], env: ['PATH=/bin'] }, os: 'linux', architecture: 'amd64' });
const dir = (k: string) => `${paths.root}/snap/${k}`;
const mounts = (k: string) => [{ type: 'overlay', source: 'overlay', options: [`lowerdir=${busy}`, `upperdir=${dir(k)}/u`, `workdir=${dir(k)}/w`] }];
const snap = implement(SnapshotServiceService, {
  resolveImage: async () => ({ image }),
  prepareSnapshot: async ({ key }) => { mkdirSync(`${dir(key)}/u`, { recursive: true }); mkdirSync(`${dir(key)}/w`, { recursive: true }); return { mounts: mounts(key) }; },
  getSnapshotMounts: async ({ key }) => ({ mounts: mounts(key), layerPaths: [busy], upperPath: `${dir(key)}/u` }),
  removeSnapshot: async ({ key }) => { rmSync(dir(key), { recursive: true, force: true }); return {}; },
  listSnapshots: async () => ({ keys: [] }),
  prepareVolumes: async () => ({ volumes: [] }),
  releaseVolumes: async () => ({}),
  readSnapshotFile: async ({ path }) => { try { return { found: true, data: readFileSync(busy + path) }; } catch { return { found: false, data: Buffer.alloc(0) }; } },
});
const img = implement(ImageServiceService, { listImages: async () => ({ images: [image] }), getImage: async () => ({ image, configJson: Buffer.alloc(0) }) });
await serve({ socketPath: socketPath(paths, 'image'), implementations: [snap, img], service: 'image', log: createLogger({ service: 'image', level: 'debug' }) });
await once(process, 'SIGTERM');
process.exit(0);
