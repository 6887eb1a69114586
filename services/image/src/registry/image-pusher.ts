import { createReadStream } from 'node:fs';
import { hasReason, invalidField } from '@flotilla/errors';
import { canonicalReference, parseReference, type Reference } from '@flotilla/oci';
import type { Descriptor } from '@flotilla/oci/image';
import type { ContentStore } from '../adapters/content-store.ts';
import type { Progress } from '../adapters/image-loader.ts';
import type { ImageRecorder } from '../adapters/image-recorder.ts';
import { readStoredManifest, type StoredManifest, uniqueBlobs } from '../adapters/stored-manifest.ts';
import { blobDamaged, imageNotFound } from '../domain/errors.ts';
import type { ImageRecord } from '../domain/image.ts';
import type { ImageStore } from '../store/image-store.ts';
import type { Credentials } from './authorizer.ts';
import { uploadBlob } from './blob-upload.ts';
import { mountSources } from './mount-source.ts';
import { about } from './registry-error.ts';
import { RegistryWriter } from './registry-writer.ts';
import type { RegistrySettings } from './settings.ts';
import { Slots } from './slots.ts';

export interface PushRequest {
  readonly reference: string;
  readonly credentials: Credentials;
  readonly onProgress: Progress;
  readonly signal: AbortSignal;
}

/** The manifest that is in the registry now. */
export interface PushedManifest {
  readonly digest: string;
  readonly sizeBytes: number;
}

export interface ImagePusherDependencies {
  readonly content: ContentStore;
  readonly images: ImageStore;
  readonly recorder: ImageRecorder;
  readonly settings: RegistrySettings;
}

/** As many as Docker sends at once. */
const atOnce = 5;
const chunkBytes = 256 << 10;

/** Sends images to registries, as they came: the store keeps manifests and layers byte for byte, so that digests stay. */
export class ImagePusher {
  readonly #has: ImagePusherDependencies;
  readonly #slots = new Slots(atOnce);

  constructor(dependencies: ImagePusherDependencies) {
    this.#has = dependencies;
  }

  /** Errors say which image and which layer: IMAGE_NOT_FOUND, INVALID_FIELD, BLOB_DAMAGED, those of RegistryWriter. */
  async push(request: PushRequest): Promise<PushedManifest> {
    const { content, images, recorder, settings } = this.#has;
    const reference = parseReference(request.reference);
    if (reference.digest !== undefined) {
      throw invalidField('reference', 'a name with a tag: what digest it gets, the image says', request.reference);
    }
    const image = this.#find(reference, request.reference);
    using _blobs = content.pin(image.blobs);
    const stored = readStoredManifest(content, image);
    const blobs = uniqueBlobs(stored.manifest);
    const sources = mountSources(
      images,
      reference,
      blobs.map(({ digest }) => digest),
    );
    const { credentials } = request;
    using writer = new RegistryWriter({ reference, credentials, settings, sources: [...new Set(sources.values())] });
    try {
      await this.#sendBlobs({ request, writer, stored, blobs, sources });
      await putManifest(writer, reference, { ...stored, digest: image.manifestDigest }, request.signal);
    } catch (error) {
      request.signal.throwIfAborted();
      throw about(error, request.reference);
    }
    recorder.recordPush(image, reference);
    return { digest: image.manifestDigest, sizeBytes: stored.bytes.length };
  }

  #find(reference: Reference, text: string): ImageRecord {
    const imageId = this.#has.images.findReference(canonicalReference(reference));
    if (imageId === undefined) throw imageNotFound(text);
    return this.#has.images.get(imageId);
  }

  /** Side by side; the first failure ends all of it. */
  async #sendBlobs(push: Push): Promise<void> {
    const { request, blobs, stored } = push;
    const controller = new AbortController();
    const signal = AbortSignal.any([request.signal, controller.signal]);
    const sending = blobs.map(async (descriptor) => {
      const isConfig = descriptor.digest === stored.manifest.config.digest;
      try {
        await this.#sendBlob(push, descriptor, isConfig ? () => {} : request.onProgress, signal);
      } catch (error) {
        controller.abort(isConfig ? error : about(error, request.reference, descriptor.digest));
      }
    });
    await Promise.all(sending);
    request.signal.throwIfAborted();
    // What failed first is what the others were ended with.
    controller.signal.throwIfAborted();
  }

  async #sendBlob(
    { writer, sources }: Push,
    descriptor: Descriptor,
    onProgress: Progress,
    signal: AbortSignal,
  ): Promise<void> {
    const { content } = this.#has;
    const { digest, size } = descriptor;
    const part = digest.slice('sha256:'.length, 'sha256:'.length + 12);
    onProgress(part, 'waiting', 0, size);
    using _slot = await this.#slots.take(signal);
    if (!content.has(digest) || content.size(digest) !== size) throw blobDamaged(digest);
    try {
      const outcome = await uploadBlob({
        writer,
        descriptor,
        open: (offset) => readBlob(content, digest, offset),
        from: sources.get(digest),
        onProgress: (bytes) => onProgress(part, 'uploading', bytes, size),
        signal,
      });
      onProgress(part, outcome, size, size);
    } catch (error) {
      // A registry that refuses bytes which are not what they should be is right.
      if (hasReason(error, 'REGISTRY_REFUSED') && !(await content.isWhole(digest))) throw blobDamaged(digest);
      throw error;
    }
  }
}

/** What one push is about. */
interface Push {
  readonly request: PushRequest;
  readonly writer: RegistryWriter;
  readonly stored: StoredManifest;
  readonly blobs: readonly Descriptor[];
  readonly sources: ReadonlyMap<string, string>;
}

async function putManifest(
  writer: RegistryWriter,
  { tag = 'latest' }: Reference,
  manifest: { readonly bytes: Buffer; readonly mediaType: string; readonly digest: string },
  signal: AbortSignal,
): Promise<void> {
  for (const patience = writer.patience(); ; ) {
    try {
      return await writer.putManifest(tag, manifest, signal);
    } catch (error) {
      await patience.pause(error, signal);
    }
  }
}

async function* readBlob(content: ContentStore, digest: string, offset: number): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(content.path(digest), { start: offset, highWaterMark: chunkBytes });
  } catch (cause) {
    throw blobDamaged(digest, cause);
  }
}
