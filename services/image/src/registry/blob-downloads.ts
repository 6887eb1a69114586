import { hasReason } from '@flotilla/errors';
import type { Descriptor } from '@flotilla/oci/image';
import type { ContentStore } from '../adapters/content-store.ts';
import { toArchiveError } from '../unpack/layer-error.ts';
import { contentMismatch, sizeMismatch } from './registry-error.ts';
import { Slots } from './slots.ts';

/** How far a download is. */
export type DownloadProgress = (status: 'waiting' | 'downloading' | 'verifying', bytes: number) => void;

export interface BlobRequest {
  readonly descriptor: Descriptor;
  /** The bytes, checked by nobody. */
  readonly open: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
  readonly onProgress: DownloadProgress;
  readonly signal: AbortSignal;
}

interface Download {
  readonly done: Promise<void>;
  readonly controller: AbortController;
  readonly listeners: Set<DownloadProgress>;
  last: Parameters<DownloadProgress>;
}

/** As many as Docker fetches at once. */
const atOnce = 3;

/**
 * Brings blobs into the content store: each once, however many pulls want it at the same time. A download ends with the last
 * pull that waits for it; the caller keeps its blobs from collection.
 */
export class BlobDownloads {
  readonly #content: ContentStore;
  readonly #running = new Map<string, Download>();
  readonly #slots = new Slots(atOnce);

  constructor(content: ContentStore) {
    this.#content = content;
  }

  /**
   * Returns once the store has the blob. BLOB_SIZE_MISMATCH, DIGEST_MISMATCH, RESOURCE_EXHAUSTED / DISK_FULL, and what `open`
   * throws. When it was cancelled, nothing of it goes on.
   */
  async fetch(request: BlobRequest): Promise<void> {
    const { descriptor, signal } = request;
    for (;;) {
      signal.throwIfAborted();
      if (await this.#has(descriptor)) return;
      const other = this.#running.get(descriptor.digest);
      const download = other ?? this.#start(request);
      try {
        await join(download, request);
        if (other === undefined) return;
      } catch (error) {
        signal.throwIfAborted();
        // Another pull's registry failed; ours may not.
        if (other === undefined) throw error;
      }
    }
  }

  /** A blob of another size than its descriptor says: either that is wrong, or the disk has lost some of it. */
  async #has({ digest, size }: Descriptor): Promise<boolean> {
    if (!this.#content.has(digest)) return false;
    const there = this.#content.size(digest);
    if (there === size) return true;
    if (await this.#content.isWhole(digest)) throw sizeMismatch(digest, size, String(there));
    this.#content.discard(digest);
    return false;
  }

  #start({ descriptor, open }: BlobRequest): Download {
    const controller = new AbortController();
    const listeners = new Set<DownloadProgress>();
    const tell: DownloadProgress = (...progress) => {
      download.last = progress;
      for (const listener of listeners) listener(...progress);
    };
    // Begins later: what is told first has its listener by then.
    const done = Promise.resolve()
      .then(() => this.#download({ descriptor, open, onProgress: tell, signal: controller.signal }))
      .finally(() => this.#running.delete(descriptor.digest));
    done.catch(() => {});
    const download: Download = { done, controller, listeners, last: ['waiting', 0] };
    this.#running.set(descriptor.digest, download);
    return download;
  }

  async #download({ descriptor, open, onProgress: tell, signal }: BlobRequest): Promise<void> {
    const { digest, size } = descriptor;
    tell('waiting', 0);
    using _slot = await this.#slots.take(signal);
    await using ingest = this.#content.openIngest();
    try {
      const file = await ingest.write(counted(open(signal), tell), digest);
      if (file.sizeBytes !== size) throw sizeMismatch(digest, size, String(file.sizeBytes));
      signal.throwIfAborted();
      ingest.commit(file);
    } catch (error) {
      if (hasReason(error, 'DIGEST_MISMATCH'))
        throw contentMismatch(`blob ${digest}`, digest, error.metadata.got ?? '');
      throw toArchiveError(error);
    }
  }
}

/** Waits for a download as one of its users; the last one who leaves ends it, and waits for that. */
async function join(
  { done, controller, listeners, last }: Download,
  { onProgress, signal }: BlobRequest,
): Promise<void> {
  const { promise: left, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  const listener: DownloadProgress = (...progress) => onProgress(...progress);
  listeners.add(listener);
  listener(...last);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([done, left]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    listeners.delete(listener);
    if (listeners.size === 0 && signal.aborted) {
      controller.abort(signal.reason);
      await done.catch(() => {});
    }
  }
}

async function* counted(chunks: AsyncIterable<Uint8Array>, tell: DownloadProgress): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  tell('downloading', 0);
  for await (const chunk of chunks) {
    yield chunk;
    bytes += chunk.length;
    tell('downloading', bytes);
  }
  tell('verifying', bytes);
}
