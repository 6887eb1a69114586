import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { invalidField } from '@flotilla/errors';
import { canonicalReference, formatDigest, parseReference } from '@flotilla/oci';
import { type Pack, pack } from 'tar-stream';
import type { ContentStore } from '../adapters/content-store.ts';
import { readStoredManifest, uniqueBlobs } from '../adapters/stored-manifest.ts';
import { blobDamaged } from '../domain/errors.ts';
import type { ImageRecord } from '../domain/image.ts';
import type { ImageStore } from '../store/image-store.ts';
import { archiveDocuments, blobName, type SavedImage } from './archive-documents.ts';

/** The contract's limit for a chunk. */
const chunkBytes = 1 << 20;
const mostNames = 10_000;

/**
 * Writes images as one tar, a docker-archive that is an OCI layout as well: manifest, config and layers byte for byte as they
 * were pulled or loaded, so that digests stay; the same images give the same bytes.
 */
export class ImageSaver {
  readonly #images: ImageStore;
  readonly #content: ContentStore;

  constructor({ images, content }: { readonly images: ImageStore; readonly content: ContentStore }) {
    this.#images = images;
    this.#content = content;
  }

  /**
   * Chunks of at most 1 MiB, as fast as they are taken. IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, INVALID_FIELD before the first one;
   * DATA_LOSS / BLOB_DAMAGED when the store's disk has lost something.
   */
  async *save(names: readonly string[], signal: AbortSignal): AsyncGenerator<Buffer> {
    if (names.length === 0 || names.length > mostNames) {
      throw invalidField('references', `between 1 and ${mostNames} references or ids`, `${names.length}`);
    }
    const saved = this.#select(names);
    // Images may be removed meanwhile; what is being written stays until it is.
    using _blobs = this.#content.pin(saved.flatMap(({ image }) => image.blobs));
    const archive = pack();
    const writing = this.#write(archive, saved, signal);
    // The reader hears of it through the stream.
    writing.catch((error: Error) => archive.destroy(error));
    try {
      for await (const chunk of archive as AsyncIterable<Buffer>) yield chunk;
      await writing;
    } finally {
      archive.destroy();
      await writing.catch(() => {});
    }
  }

  /** Each image once, in the order in which they were named, with those of its names that were asked for. */
  #select(names: readonly string[]): SavedImage[] {
    const found = new Map<ImageRecord, Set<string>>();
    for (const name of new Set(names)) {
      for (const [image, reference] of this.#find(name)) {
        const references = found.get(image) ?? new Set();
        found.set(image, references);
        if (reference !== undefined) references.add(reference);
      }
    }
    return [...found].map(([image, references]) => ({
      image,
      stored: readStoredManifest(this.#content, image),
      references: [...references],
    }));
  }

  /** A name without tag and digest means all tags of the repository, as with Docker. */
  #find(name: string): (readonly [ImageRecord, string | undefined])[] {
    const tags = this.#tagsOf(name);
    if (tags.length > 0) return tags;
    const { image, reference } = this.#images.resolve(name);
    const isTag = reference !== undefined && parseReference(reference).digest === undefined;
    return [[image, isTag ? reference : undefined]];
  }

  #tagsOf(name: string): (readonly [ImageRecord, string])[] {
    if (/^(sha256:)?[0-9a-f]{64}$/.test(name) || name.includes('@')) return [];
    if (name.lastIndexOf(':') > name.lastIndexOf('/')) return [];
    const { domain, path } = parseReference(name, 'references');
    const repository = canonicalReference({ domain, path });
    return this.#images
      .list()
      .flatMap((image) => this.#images.referencesOf(image.imageId).map((reference) => [image, reference] as const))
      .filter(([, reference]) => reference.startsWith(`${repository}:`) && !reference.includes('@'))
      .sort(([, a], [, b]) => (a < b ? -1 : 1));
  }

  async #write(archive: Pack, saved: readonly SavedImage[], signal: AbortSignal): Promise<void> {
    for (const { name, bytes } of archiveDocuments(saved)) archive.entry(header(name, bytes.length), bytes);
    for (const name of ['blobs/', 'blobs/sha256/'])
      archive.entry({ ...header(name, 0), type: 'directory', mode: 0o755 });
    const sizes = new Map<string, number>();
    for (const { image, stored } of saved) {
      sizes.set(image.manifestDigest, stored.bytes.length);
      for (const { digest, size } of uniqueBlobs(stored.manifest)) sizes.set(digest, size);
    }
    for (const [digest, size] of [...sizes].sort(([a], [b]) => (a < b ? -1 : 1))) {
      await this.#writeBlob(archive, digest, size, signal);
    }
    archive.finalize();
  }

  async #writeBlob(archive: Pack, digest: string, size: number, signal: AbortSignal): Promise<void> {
    if (!this.#content.has(digest) || this.#content.size(digest) !== size) throw blobDamaged(digest);
    const hash = createHash('sha256');
    const entry = archive.entry(header(blobName(digest), size));
    const source = createReadStream(this.#content.path(digest), { highWaterMark: chunkBytes });
    const hashed = async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
      // Before the end of the entry: whoever reads the archive must not take it for whole.
      if (formatDigest(hash.digest('hex')) !== digest) throw blobDamaged(digest);
    };
    await pipeline(source, hashed, entry as unknown as NodeJS.WritableStream, { signal });
  }
}

/** Nothing in it changes from one time to the next. */
function header(name: string, size: number) {
  return { name, size, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) };
}
