import { nowUnixNano } from '@flotilla/linux';
import { type ImageConfigDocument, imageConfigSchema, mediaTypes } from '@flotilla/oci/image';
import { chainIds } from '../domain/chain-id.ts';
import { blobMissing } from '../domain/errors.ts';
import { formatTime, type ImageRecord } from '../domain/image.ts';
import { toArchiveError } from '../unpack/layer-error.ts';
import { type ContentStore, type Ingest, once } from './content-store.ts';
import { type FoundImage, findImages } from './find-images.ts';
import type { ImageRecorder, NewImage } from './image-recorder.ts';
import { layerMediaType } from './layer-media-type.ts';
import type { LayerStore } from './layer-store.ts';
import { readArchive } from './read-archive.ts';
import { uncompressedDigest } from './uncompressed-digest.ts';

/** How far a part is. */
export type Progress = (part: string, status: string, currentBytes: number, totalBytes: number) => void;

export interface TransferOptions {
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly onProgress: Progress;
  readonly signal: AbortSignal;
}

export interface ImageLoaderDependencies {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly recorder: ImageRecorder;
  readonly architecture: string;
  readonly maxBytes: number;
}

/** What an import says of its image. */
export interface ImportSettings {
  /** Canonical, absent for an image without a reference. */
  readonly reference: string | undefined;
  readonly config: NonNullable<ImageConfigDocument['config']>;
  readonly message: string;
  readonly architecture: string;
}

/** Brings images in: all that an archive holds, or nothing. */
export class ImageLoader {
  readonly #has: ImageLoaderDependencies;

  constructor(dependencies: ImageLoaderDependencies) {
    this.#has = dependencies;
  }

  /** Loads the images of a docker-archive or OCI layout; gives them with the names that they have there. */
  async load({ chunks, onProgress, signal }: TransferOptions): Promise<NewImage[]> {
    const { content, architecture, maxBytes } = this.#has;
    await using ingest = content.openIngest();
    const files = await readArchive({
      chunks: stoppable(chunks, signal),
      ingest,
      maxBytes,
      onProgress: (file, bytes) => onProgress(file, 'loading', bytes, 0),
    });
    const found = await findImages({ files, content, ingest, architecture });
    // Awaited here: leaving the block removes the ingest folder.
    const records = await this.add(ingest, found, 'load', onProgress, signal);
    return records.map((image, position) => ({ image, references: found[position]!.references }));
  }

  /** Makes an image of one layer from the tar of a root file system. */
  async import({ chunks, onProgress, signal }: TransferOptions, settings: ImportSettings): Promise<ImageRecord> {
    await using ingest = this.#has.content.openIngest();
    const layer = await ingest.write(
      counted(stoppable(chunks, signal), (bytes) => onProgress('layer', 'loading', bytes, 0)),
    );
    // The config names the uncompressed digest, which only unpacking tells: this one is unpacked before it has a config.
    const diffId = await this.#diffId(layer.path);
    const created = formatTime(nowUnixNano());
    const config: ImageConfigDocument = imageConfigSchema.parse({
      created,
      architecture: settings.architecture,
      os: 'linux',
      config: settings.config,
      rootfs: { type: 'layers', diff_ids: [diffId] },
      history: [
        { created, created_by: 'flotilla import', ...(settings.message === '' ? {} : { comment: settings.message }) },
      ],
    });
    const configFile = await ingest.write(once(Buffer.from(JSON.stringify(config))));
    const manifest = {
      schemaVersion: 2 as const,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: configFile.digest, size: configFile.sizeBytes },
      layers: [{ mediaType: layerMediaType(layer.path), digest: layer.digest, size: layer.sizeBytes }],
    };
    const manifestFile = await ingest.write(once(Buffer.from(JSON.stringify(manifest))));
    const found: FoundImage = {
      title: settings.reference ?? 'the image',
      imageId: configFile.digest,
      config,
      manifestDigest: manifestFile.digest,
      manifest,
      references: settings.reference === undefined ? [] : [settings.reference],
      files: [manifestFile, configFile, layer],
    };
    const [image] = await this.add(ingest, [found], 'import', onProgress, signal);
    return image!;
  }

  async #diffId(path: string): Promise<string> {
    try {
      return await uncompressedDigest(path, this.#has.maxBytes);
    } catch (error) {
      throw toArchiveError(error);
    }
  }

  /** Unpacks and records images whose files are in the ingest folder, or in the store: all of them or none. */
  async add(
    ingest: Ingest,
    found: readonly FoundImage[],
    action: 'load' | 'import' | 'tag',
    onProgress: Progress,
    signal: AbortSignal,
  ): Promise<ImageRecord[]> {
    const { content, layers } = this.#has;
    using _layers = layers.pin(found.flatMap(({ config }) => chainIds(config.rootfs.diff_ids)));
    using _blobs = content.pin(found.flatMap(blobsOf));
    for (const image of found) {
      const lost = blobsOf(image).find((one) => !image.files.some(({ digest }) => digest === one) && !content.has(one));
      if (lost !== undefined) throw blobMissing(lost, image.title);
    }
    try {
      const records: ImageRecord[] = [];
      for (const image of found) records.push(await this.#unpack(image, onProgress, signal));
      for (const { files } of found) for (const file of files) ingest.commit(file);
      content.flush();
      this.#has.recorder.record(
        records.map((image, position) => ({ image, references: found[position]!.references })),
        action,
      );
      return records;
    } catch (error) {
      this.#has.recorder.collectSoon(signal);
      throw error;
    }
  }

  async #unpack(image: FoundImage, onProgress: Progress, signal: AbortSignal): Promise<ImageRecord> {
    const { content, layers } = this.#has;
    const diffIds = image.config.rootfs.diff_ids;
    const chain = chainIds(diffIds);
    const layerSizes: number[] = [];
    for (const [position, { digest, size }] of image.manifest.layers.entries()) {
      const part = digest.slice('sha256:'.length, 'sha256:'.length + 12);
      const file = image.files.find((one) => one.digest === digest);
      onProgress(part, 'unpacking', 0, size);
      layerSizes.push(
        await layers.ensure(
          {
            chainId: chain[position]!,
            diffId: diffIds[position]!,
            digest,
            below: chain.slice(0, position),
            blobPath: file?.path ?? content.path(digest),
          },
          (bytes) => onProgress(part, 'unpacking', bytes, size),
          signal,
        ),
      );
      onProgress(part, 'done', size, size);
    }
    return {
      imageId: image.imageId,
      manifestDigest: image.manifestDigest,
      blobs: blobsOf(image),
      diffIds,
      chainIds: chain,
      layerSizes,
      sizeBytes: layerSizes.reduce((sum, size) => sum + size, 0),
      config: image.config,
    };
  }
}

function blobsOf({ manifestDigest, imageId, manifest }: FoundImage): string[] {
  return [manifestDigest, imageId, ...manifest.layers.map(({ digest }) => digest)];
}

async function* stoppable(chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    yield chunk;
  }
  signal.throwIfAborted();
}

async function* counted(chunks: AsyncIterable<Uint8Array>, onBytes: (bytes: number) => void) {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    onBytes(bytes);
    yield chunk;
  }
}
