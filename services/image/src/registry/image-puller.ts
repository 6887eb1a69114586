import { canonicalReference, parseReference, type Reference } from '@flotilla/oci';
import type { Descriptor, ImageConfigDocument, Platform } from '@flotilla/oci/image';
import type { ContentStore } from '../adapters/content-store.ts';
import { once } from '../adapters/content-store.ts';
import type { Progress } from '../adapters/image-loader.ts';
import type { ImageRecorder } from '../adapters/image-recorder.ts';
import type { LayerStore } from '../adapters/layer-store.ts';
import { chainIds } from '../domain/chain-id.ts';
import { platformNotFound } from '../domain/errors.ts';
import type { ImageRecord } from '../domain/image.ts';
import { formatPlatform, parsePlatform, platformOf, runsOn } from '../domain/platform.ts';
import type { Credentials } from './authorizer.ts';
import type { BlobDownloads } from './blob-downloads.ts';
import { streamBlob } from './blob-stream.ts';
import { checkTotal, parseConfig } from './image-documents.ts';
import { RegistryClient } from './registry-client.ts';
import { about } from './registry-error.ts';
import { type ResolvedManifest, resolveManifest } from './resolve-manifest.ts';
import type { RegistrySettings } from './settings.ts';

export interface PullRequest {
  readonly reference: string;
  /** `linux/arm/v7`; empty is the host's. */
  readonly platform: string;
  readonly credentials: Credentials;
  readonly onProgress: Progress;
  readonly signal: AbortSignal;
}

export interface PulledImage {
  readonly image: ImageRecord;
  /** That the reference had: of the index where there is one. */
  readonly digest: string;
}

export interface ImagePullerDependencies {
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly recorder: ImageRecorder;
  readonly downloads: BlobDownloads;
  readonly settings: RegistrySettings;
  readonly host: Platform;
}

/** Brings an image from a registry: all of it, or nothing. */
export class ImagePuller {
  readonly #has: ImagePullerDependencies;

  constructor(dependencies: ImagePullerDependencies) {
    this.#has = dependencies;
  }

  /** Errors say which image and which layer: those of RegistryClient, PLATFORM_NOT_FOUND, and those of unpacking. */
  async pull(request: PullRequest): Promise<PulledImage> {
    const reference = parseReference(request.reference);
    const wanted = parsePlatform(request.platform, this.#has.host);
    const controller = new AbortController();
    const signal = AbortSignal.any([request.signal, controller.signal]);
    using client = new RegistryClient({ reference, credentials: request.credentials, settings: this.#has.settings });
    try {
      const tagOrDigest = reference.digest ?? reference.tag ?? 'latest';
      const resolved = await resolveManifest({ client, tagOrDigest, wanted, signal });
      const work = new Pull({ has: this.#has, request: { ...request, signal }, client, resolved, controller });
      return { image: await work.run(reference, wanted), digest: resolved.topDigest };
    } catch (error) {
      request.signal.throwIfAborted();
      throw about(error, request.reference);
    }
  }
}

interface PullParts {
  readonly has: ImagePullerDependencies;
  readonly request: PullRequest;
  readonly client: RegistryClient;
  readonly resolved: ResolvedManifest;
  /** Ends all that the request's signal would end. */
  readonly controller: AbortController;
}

/** One pull, once its manifest is known. */
class Pull {
  readonly #has: ImagePullerDependencies;
  readonly #request: PullRequest;
  readonly #client: RegistryClient;
  readonly #resolved: ResolvedManifest;
  readonly #controller: AbortController;

  constructor({ has, request, client, resolved, controller }: PullParts) {
    this.#has = has;
    this.#request = request;
    this.#client = client;
    this.#resolved = resolved;
    this.#controller = controller;
  }

  async run(reference: Reference, wanted: Platform): Promise<ImageRecord> {
    const { content, layers, recorder, settings } = this.#has;
    const { manifest, document, topDigest } = this.#resolved;
    checkTotal(manifest.layers, settings.maxBytes);
    const blobs = [document.digest, manifest.config.digest, ...manifest.layers.map(({ digest }) => digest)];
    using _blobs = content.pin(blobs);
    try {
      const config = await this.#fetchConfig(wanted);
      using _layers = layers.pin(chainIds(config.rootfs.diff_ids));
      const image = await this.#fetchLayers(config, blobs);
      await this.#storeManifest();
      content.flush();
      recorder.record([{ image, references: namesOf(reference, topDigest) }], 'pull');
      return image;
    } catch (error) {
      recorder.collectSoon(this.#request.signal);
      throw error;
    }
  }

  async #fetchConfig(wanted: Platform): Promise<ImageConfigDocument> {
    const { manifest, selected } = this.#resolved;
    await this.#fetch(manifest.config, () => {});
    const config = parseConfig(this.#has.content.read(manifest.config.digest), manifest);
    const made = platformOf(config);
    // An image without an index is taken as it is, unless somebody said what it must be for.
    const explicit = this.#request.platform !== '';
    if (made.os !== 'linux' || (explicit && !selected && !runsOn(made, wanted))) {
      throw platformNotFound(formatPlatform(wanted), [formatPlatform(made)]);
    }
    return config;
  }

  /** Downloads side by side, unpacks in order meanwhile. The first failure ends all of it. */
  async #fetchLayers(config: ImageConfigDocument, blobs: readonly string[]): Promise<ImageRecord> {
    const { manifest, document } = this.#resolved;
    const diffIds = config.rootfs.diff_ids;
    const chain = chainIds(diffIds);
    const downloads = manifest.layers.map((layer) => this.#download(layer));
    for (const one of downloads) one.catch((error: unknown) => this.#controller.abort(error));
    const layerSizes: number[] = [];
    try {
      for (const [position, layer] of manifest.layers.entries()) {
        await downloads[position];
        layerSizes.push(await this.#unpack(layer, { chain, diffId: diffIds[position]!, position }));
      }
    } catch (error) {
      this.#controller.abort(error);
      await Promise.allSettled(downloads);
      // What failed first is what the others were ended with.
      throw this.#controller.signal.reason;
    }
    return {
      imageId: manifest.config.digest,
      manifestDigest: document.digest,
      blobs,
      diffIds,
      chainIds: chain,
      layerSizes,
      sizeBytes: layerSizes.reduce((sum, size) => sum + size, 0),
      config,
    };
  }

  async #download(layer: Descriptor): Promise<void> {
    const part = partOf(layer);
    try {
      await this.#fetch(layer, (status, bytes) => this.#request.onProgress(part, status, bytes, layer.size));
    } catch (error) {
      throw about(error, this.#request.reference, layer.digest);
    }
  }

  async #unpack(
    layer: Descriptor,
    {
      chain,
      diffId,
      position,
    }: { readonly chain: readonly string[]; readonly diffId: string; readonly position: number },
  ): Promise<number> {
    const { content, layers } = this.#has;
    const { onProgress, reference, signal } = this.#request;
    const { digest, size } = layer;
    const part = partOf(layer);
    const chainId = chain[position]!;
    const there = layers.has(chainId);
    try {
      if (!there) onProgress(part, 'unpacking', 0, size);
      const unpacked = await layers.ensure(
        {
          chainId,
          diffId,
          digest,
          below: chain.slice(0, position),
          blobPath: content.path(digest),
        },
        (bytes) => onProgress(part, 'unpacking', bytes, size),
        signal,
      );
      onProgress(part, there ? 'exists' : 'done', size, size);
      return unpacked;
    } catch (error) {
      throw about(error, reference, digest);
    }
  }

  async #fetch(descriptor: Descriptor, onProgress: (status: string, bytes: number) => void): Promise<void> {
    const { downloads, settings } = this.#has;
    await downloads.fetch({
      descriptor,
      open: (signal) => streamBlob({ client: this.#client, descriptor, settings, signal }),
      onProgress,
      signal: this.#request.signal,
    });
  }

  async #storeManifest(): Promise<void> {
    const { content } = this.#has;
    const { bytes, digest } = this.#resolved.document;
    if (content.has(digest)) return;
    await using ingest = content.openIngest();
    ingest.commit(await ingest.write(once(bytes), digest));
  }
}

/** By its tag, and by the digest that the tag had: what was pulled by a tag can be asked for by what it was then. */
function namesOf({ domain, path, tag, digest }: Reference, topDigest: string): string[] {
  const byDigest = canonicalReference({ domain, path, digest: topDigest });
  return tag === undefined || digest !== undefined ? [byDigest] : [canonicalReference({ domain, path, tag }), byDigest];
}

function partOf({ digest }: Descriptor): string {
  return digest.slice('sha256:'.length, 'sha256:'.length + 12);
}
