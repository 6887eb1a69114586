import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { formatDigest, parseDigest } from '@flotilla/oci';
import { digestMismatch } from '../domain/errors.ts';

/** A file that was written to the ingest folder and is not yet part of the store. */
export interface IngestedFile {
  readonly path: string;
  readonly digest: string;
  readonly sizeBytes: number;
}

/** What a collection did. */
export interface Swept {
  /** That it has freed. */
  readonly bytes: number;
  /** Whether something stayed for a lease alone. */
  readonly leased: boolean;
}

/**
 * Blobs by digest. What comes in is written to an ingest folder, hashed on the way, flushed, and renamed into place: a
 * blob that is there is whole.
 */
export class ContentStore {
  readonly #blobs: string;
  readonly #ingest: string;
  readonly #pinned = new Set<ReadonlySet<string>>();
  #counter = 0;
  #onUnpinned = () => {};

  constructor(root: string) {
    this.#blobs = join(root, 'content', 'blobs', 'sha256');
    this.#ingest = join(root, 'content', 'ingest');
    rmSync(this.#ingest, { recursive: true, force: true });
    for (const folder of [this.#blobs, this.#ingest]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  path(digest: string): string {
    return join(this.#blobs, parseDigest(digest));
  }

  has(digest: string): boolean {
    return existsSync(this.path(digest));
  }

  /** Bytes of a blob that is there. */
  size(digest: string): number {
    return statSync(this.path(digest)).size;
  }

  /** Whether a blob that is there is what its name says. */
  async isWhole(digest: string): Promise<boolean> {
    const hash = createHash('sha256');
    for await (const chunk of createReadStream(this.path(digest))) hash.update(chunk as Buffer);
    return formatDigest(hash.digest('hex')) === digest;
  }

  /** Takes away a blob that is damaged, so that it can come again. */
  discard(digest: string): void {
    rmSync(this.path(digest), { force: true });
  }

  read(digest: string): Buffer {
    return readFileSync(this.path(digest));
  }

  /** A folder of its own for what one call brings; disposing removes what was not committed. */
  openIngest(): Ingest {
    const folder = join(this.#ingest, `${process.pid}-${++this.#counter}`);
    mkdirSync(folder, { mode: 0o700 });
    return new Ingest(folder, this);
  }

  /**
   * A lease: keeps blobs from collection, whether they are there yet or not, until the result is disposed. For whoever reads an
   * image (a save, a push), and for those that make one that is not recorded yet. It is in memory alone: it ends with the
   * process, as the work does. Take it before looking whether something is there, and in the same turn of the event loop as an
   * image was found: nothing is collected between.
   */
  pin(digests: readonly string[]): Disposable {
    const pin = new Set(digests);
    this.#pinned.add(pin);
    return {
      [Symbol.dispose]: () => {
        if (this.#pinned.delete(pin)) this.#onUnpinned();
      },
    };
  }

  /** Called at the end of each lease. */
  onUnpinned(listener: () => void): void {
    this.#onUnpinned = listener;
  }

  /**
   * Removes blobs that are neither among those wanted nor leased. They are out of sight at once; their bytes, which may be many,
   * go a little later, or at the next start.
   */
  collect(wanted: ReadonlySet<string>): Swept {
    let bytes = 0;
    let leased = false;
    for (const hex of readdirSync(this.#blobs)) {
      const digest = formatDigest(hex);
      if (wanted.has(digest)) continue;
      if (this.#isPinned(digest)) {
        leased = true;
        continue;
      }
      bytes += this.size(digest);
      const gone = join(this.#ingest, `gone-${++this.#counter}`);
      renameSync(this.path(digest), gone);
      void rm(gone, { force: true }).catch(() => {}); // The next start tries again.
    }
    return { bytes, leased };
  }

  #isPinned(digest: string): boolean {
    return [...this.#pinned].some((pin) => pin.has(digest));
  }

  /** Makes renames durable. */
  flush(): void {
    const fd = openSync(this.#blobs, 'r');
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}

/** What one call brings in. */
export class Ingest implements AsyncDisposable {
  readonly #folder: string;
  readonly #store: ContentStore;
  #counter = 0;

  constructor(folder: string, store: ContentStore) {
    this.#folder = folder;
    this.#store = store;
  }

  /** A path for a file or folder that goes with the ingest. */
  freshPath(): string {
    return join(this.#folder, String(++this.#counter));
  }

  /** Writes a stream to a file, hashing it. DIGEST_MISMATCH when it is not what it should be. */
  async write(data: AsyncIterable<Uint8Array>, expected?: string): Promise<IngestedFile> {
    const path = this.freshPath();
    const hash = createHash('sha256');
    let sizeBytes = 0;
    await using file = await open(path, 'wx', 0o600);
    for await (const chunk of data) {
      hash.update(chunk);
      for (let done = 0; done < chunk.length; ) done += (await file.write(chunk, done)).bytesWritten;
      sizeBytes += chunk.length;
    }
    await file.sync();
    const digest = formatDigest(hash.digest('hex'));
    if (expected !== undefined && digest !== expected) throw digestMismatch(`blob ${expected}`, expected, digest);
    return { path, digest, sizeBytes };
  }

  /** Moves a file into the store; one that is there already stays as it is. */
  commit({ path, digest }: IngestedFile): void {
    if (!this.#store.has(digest)) renameSync(path, this.#store.path(digest));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A document made by us, as a stream. */
export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
