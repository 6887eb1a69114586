import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { nowUnixNano } from '@flotilla/linux';
import { imageConfigSchema, manifestSchema, parseDocument } from '@flotilla/oci/image';
import { chainIds } from '../domain/chain-id.ts';
import { type CommitSettings, committedConfig, committedManifest } from '../domain/committed-image.ts';
import { formatTime, type ImageRecord } from '../domain/image.ts';
import type { ImageStore } from '../store/image-store.ts';
import { type ContentStore, type Ingest, type IngestedFile, once } from './content-store.ts';
import type { ImageLoader } from './image-loader.ts';
import type { ImageRecorder } from './image-recorder.ts';
import type { LayerStore } from './layer-store.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import type { SnapshotTrees } from './snapshot-trees.ts';

export interface ImageCommitterDependencies {
  readonly images: ImageStore;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly snapshots: SnapshotStore;
  readonly trees: SnapshotTrees;
  readonly loader: ImageLoader;
  readonly recorder: ImageRecorder;
  /** Of a layer's tar. */
  readonly maxBytes: number;
}

export interface CommitRequest extends CommitSettings {
  readonly key: string;
  readonly mountPoints: readonly string[];
  /** Canonical; undefined for none. */
  readonly reference: string | undefined;
}

/**
 * Light compression: a commit is waited for, and twice the time would save a few parts in a hundred. Gzip, since every engine
 * reads it.
 */
const gzipLevel = 4;

/** Makes images of snapshots: the snapshot's image with one more layer. */
export class ImageCommitter {
  readonly #has: ImageCommitterDependencies;

  constructor(dependencies: ImageCommitterDependencies) {
    this.#has = dependencies;
  }

  /** All of it or nothing. Calls back once the snapshot has been read: what is done in it from then on does not matter. */
  async commit(request: CommitRequest, onCaptured: () => void, signal: AbortSignal): Promise<ImageRecord> {
    const { images, content, layers, snapshots, trees, recorder, maxBytes } = this.#has;
    const { key, mountPoints } = request;
    const base = images.get(snapshots.imageOf(key));
    using _layers = layers.pin(base.chainIds);
    using _blobs = content.pin(base.blobs);
    await using ingest = content.openIngest();
    const path = ingest.freshPath();
    const { digest, entries } = await trees.capture({ key, mountPoints, path, maxBytes }, signal);
    onCaptured();
    try {
      return await this.#add(request, base, ingest, entries === 0 ? undefined : { path, diffId: digest }, signal);
    } catch (error) {
      recorder.collectSoon(signal);
      throw error;
    }
  }

  async #add(
    request: CommitRequest,
    base: ImageRecord,
    ingest: Ingest,
    tar: { readonly path: string; readonly diffId: string } | undefined,
    signal: AbortSignal,
  ): Promise<ImageRecord> {
    const { content, layers, loader } = this.#has;
    const { reference } = request;
    const created = formatTime(nowUnixNano());
    const baseConfig = parseDocument(imageConfigSchema, content.read(base.imageId), `config ${base.imageId}`);
    const config = committedConfig(baseConfig, { ...request, created, diffId: tar?.diffId });
    const chain = chainIds(config.rootfs.diff_ids);
    using _layers = layers.pin(chain);
    const layer = tar === undefined ? undefined : await this.#makeLayer(ingest, tar, chain, signal);
    const configFile = await ingest.write(once(Buffer.from(JSON.stringify(config))));
    const baseManifest = parseDocument(
      manifestSchema,
      content.read(base.manifestDigest),
      `manifest of ${base.imageId}`,
    );
    const descriptor = ({ digest, sizeBytes }: IngestedFile) => ({ digest, size: sizeBytes });
    const manifest = committedManifest(baseManifest, descriptor(configFile), layer && descriptor(layer));
    const manifestFile = await ingest.write(once(Buffer.from(JSON.stringify(manifest))));
    const found = {
      title: reference ?? 'the image',
      imageId: configFile.digest,
      config,
      manifestDigest: manifestFile.digest,
      manifest,
      references: reference === undefined ? [] : [reference],
      files: [manifestFile, configFile, ...(layer === undefined ? [] : [layer])],
    };
    const [image] = await loader.add(ingest, [found], 'tag', () => {}, signal);
    return image!;
  }

  /** Compresses the tar for the store, and unpacks it meanwhile. */
  async #makeLayer(
    ingest: Ingest,
    { path, diffId }: { readonly path: string; readonly diffId: string },
    chain: readonly string[],
    signal: AbortSignal,
  ): Promise<IngestedFile> {
    const failed = new AbortController();
    const until = AbortSignal.any([signal, failed.signal]);
    const request = { chainId: chain.at(-1)!, diffId, digest: diffId, below: chain.slice(0, -1), blobPath: path };
    const work = [compress(ingest, path, until), this.#has.layers.ensure(request, () => {}, until)] as const;
    try {
      const [layer] = await Promise.all(work);
      return layer;
    } catch (error) {
      failed.abort(error);
      await Promise.allSettled(work);
      throw error;
    }
  }
}

async function compress(ingest: Ingest, path: string, signal: AbortSignal): Promise<IngestedFile> {
  const { promise, resolve } = Promise.withResolvers<IngestedFile>();
  await pipeline(
    createReadStream(path, { highWaterMark: 1 << 20 }),
    createGzip({ level: gzipLevel, chunkSize: 256 << 10 }),
    async (compressed: AsyncIterable<Buffer>) => resolve(await ingest.write(compressed)),
    { signal },
  );
  return promise;
}
