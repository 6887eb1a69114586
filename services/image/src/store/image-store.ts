import { canonicalReference, parseReference } from '@flotilla/oci';
import type { Database } from '@flotilla/store';
import { imageAmbiguous, imageNotFound } from '../domain/errors.ts';
import type { ImageRecord } from '../domain/image.ts';

/** An image and the reference that it was found by, if it was by one. */
export interface ResolvedImage {
  readonly image: ImageRecord;
  readonly reference: string | undefined;
}

/** Images and references: kept in memory for reading, written through to SQLite. */
export class ImageStore {
  readonly #database: Database;
  readonly #images = new Map<string, ImageRecord>();
  readonly #references = new Map<string, string>();

  constructor(database: Database) {
    this.#database = database;
    for (const row of database.prepare('SELECT * FROM images').all() as unknown as ImageRow[]) {
      this.#images.set(row.image_id, fromRow(row));
    }
    const references = database.prepare('SELECT reference, image_id FROM image_references').all();
    for (const { reference, image_id } of references as unknown as { reference: string; image_id: string }[]) {
      this.#references.set(reference, image_id);
    }
  }

  list(): ImageRecord[] {
    return [...this.#images.values()];
  }

  /** NOT_FOUND / IMAGE_NOT_FOUND. */
  get(imageId: string): ImageRecord {
    const image = this.#images.get(imageId);
    if (image === undefined) throw imageNotFound(imageId);
    return image;
  }

  /** Canonical references of an image, sorted. */
  referencesOf(imageId: string): string[] {
    return [...this.#references]
      .filter(([, id]) => id === imageId)
      .map(([reference]) => reference)
      .sort();
  }

  /** Whether an image has a tag: digests that it was pulled by do not name it. */
  isTagged(imageId: string): boolean {
    return this.referencesOf(imageId).some((reference) => parseReference(reference).tag !== undefined);
  }

  /** Whom a reference belongs to, if anybody. */
  findReference(reference: string): string | undefined {
    return this.#references.get(reference);
  }

  /**
   * By image id, reference or unique id prefix, in that order. NOT_FOUND / IMAGE_NOT_FOUND, INVALID_ARGUMENT /
   * IMAGE_AMBIGUOUS.
   */
  resolve(text: string): ResolvedImage {
    const whole = /^(?:sha256:)?([0-9a-f]{64})$/.exec(text);
    if (whole !== null) {
      const image = this.#images.get(`sha256:${whole[1]}`);
      if (image === undefined) throw imageNotFound(text);
      return { image, reference: undefined };
    }
    return this.#findByName(text) ?? this.#findByPrefix(text);
  }

  #findByPrefix(text: string): ResolvedImage {
    const prefix = /^(?:sha256:)?([0-9a-f]{3,63})$/.exec(text)?.[1];
    const matching =
      prefix === undefined ? [] : this.list().filter(({ imageId }) => imageId.startsWith(`sha256:${prefix}`));
    if (matching.length > 1) throw imageAmbiguous(text);
    const [image] = matching;
    if (image === undefined) throw imageNotFound(text);
    return { image, reference: undefined };
  }

  #findByName(text: string): ResolvedImage | undefined {
    if (/^sha256:[0-9a-f]+$/.test(text)) return undefined;
    const { digest, ...named } = parseReference(text, 'image');
    if (digest !== undefined) {
      const { domain, path } = named;
      const pulled = canonicalReference({ domain, path, digest });
      const pulledId = this.#references.get(pulled);
      if (pulledId !== undefined) return { image: this.get(pulledId), reference: pulled };
      const image = this.list().find((one) => digest === one.manifestDigest || digest === one.imageId);
      return image === undefined ? undefined : { image, reference: canonicalReference({ ...named, digest }) };
    }
    const reference = canonicalReference(named);
    const imageId = this.#references.get(reference);
    return imageId === undefined ? undefined : { image: this.get(imageId), reference };
  }

  /** Adds an image with its references, which are taken from others that had them. Call it in a transaction. */
  add(image: ImageRecord, references: readonly string[]): void {
    this.#database
      .prepare(
        `INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (image_id) DO UPDATE SET
          manifest_digest = excluded.manifest_digest, blobs = excluded.blobs, config = excluded.config`,
      )
      .run(
        image.imageId,
        image.manifestDigest,
        JSON.stringify(image.blobs),
        JSON.stringify(image.diffIds),
        JSON.stringify(image.chainIds),
        JSON.stringify(image.layerSizes),
        JSON.stringify(image.config),
      );
    for (const reference of references) this.tag(reference, image.imageId);
    this.#database.afterCommit(() => this.#images.set(image.imageId, image));
  }

  /** Call it in a transaction. */
  tag(reference: string, imageId: string): void {
    this.#database
      .prepare(
        'INSERT INTO image_references VALUES (?, ?) ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id',
      )
      .run(reference, imageId);
    this.#database.afterCommit(() => this.#references.set(reference, imageId));
  }

  /** Call it in a transaction. */
  untag(reference: string): void {
    this.#database.prepare('DELETE FROM image_references WHERE reference = ?').run(reference);
    this.#database.afterCommit(() => this.#references.delete(reference));
  }

  /** Call it in a transaction, after its references. */
  remove(imageId: string): void {
    this.#database.prepare('DELETE FROM images WHERE image_id = ?').run(imageId);
    this.#database.afterCommit(() => this.#images.delete(imageId));
  }
}

interface ImageRow {
  readonly image_id: string;
  readonly manifest_digest: string;
  readonly blobs: string;
  readonly diff_ids: string;
  readonly chain_ids: string;
  readonly layer_sizes: string;
  readonly config: string;
}

function fromRow(row: ImageRow): ImageRecord {
  const layerSizes = JSON.parse(row.layer_sizes) as number[];
  return {
    imageId: row.image_id,
    manifestDigest: row.manifest_digest,
    blobs: JSON.parse(row.blobs) as string[],
    diffIds: JSON.parse(row.diff_ids) as string[],
    chainIds: JSON.parse(row.chain_ids) as string[],
    layerSizes,
    sizeBytes: layerSizes.reduce((sum, size) => sum + size, 0),
    config: JSON.parse(row.config) as ImageRecord['config'],
  };
}
