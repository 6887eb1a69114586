import { hasReason } from '@flotilla/errors';
import type { EventPublisher } from '@flotilla/events';
import { nowUnixNano } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import { canonicalReference, familiarReference, parseReference, type Reference } from '@flotilla/oci';
import type { Database } from '@flotilla/store';
import type { ImageRecord } from '../domain/image.ts';
import type { ImageStore } from '../store/image-store.ts';
import type { ContentStore } from './content-store.ts';
import type { LayerStore } from './layer-store.ts';

export interface ImageRecorderDependencies {
  readonly database: Database;
  readonly images: ImageStore;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly publisher: EventPublisher;
  readonly log: Logger;
}

/** An image whose blobs and layers are there, and its new names. */
export interface NewImage {
  readonly image: ImageRecord;
  /** Canonical; the first is the one that the event tells. */
  readonly references: readonly string[];
}

/** What a collection has removed. */
export interface Collected {
  /** Of unpacked layers. */
  readonly chainIds: readonly string[];
  /** Of layers and blobs. */
  readonly bytes: number;
}

/** Makes images of what was brought in, and clears away what no image needs. */
export class ImageRecorder {
  readonly #has: ImageRecorderDependencies;
  #leftByLease = false;

  constructor(dependencies: ImageRecorderDependencies) {
    this.#has = dependencies;
    // An image that was removed while somebody read it goes whole at the end of the last lease.
    const onUnpinned = () => void (this.#leftByLease && this.collect());
    dependencies.content.onUnpinned(onUnpinned);
    dependencies.layers.onUnpinned(onUnpinned);
  }

  /** Images, references and events, in one transaction. */
  record(found: readonly NewImage[], action: 'load' | 'import' | 'pull' | 'tag'): void {
    const { database, images, publisher } = this.#has;
    database.transact(() => {
      for (const { image, references } of found) {
        images.add(image, references);
        const [name] = references;
        if (action === 'tag' && name === undefined) continue;
        publisher.announce({
          type: 'image',
          action,
          actorId: image.imageId,
          attributes: name === undefined ? {} : { name: familiarReference(parseReference(name)) },
          timeUnixNano: nowUnixNano(),
        });
      }
    });
  }

  /** An image is in a registry now, where its digest is a name of it. Somebody may have given its tag to another meanwhile. */
  recordPush(image: ImageRecord, { domain, path, tag }: Reference): void {
    const { database, images, publisher } = this.#has;
    const reference = canonicalReference({ domain, path, ...(tag === undefined ? {} : { tag }) });
    database.transact(() => {
      if (images.findReference(reference) === image.imageId) {
        images.tag(canonicalReference({ domain, path, digest: image.manifestDigest }), image.imageId);
      }
      publisher.announce({
        type: 'image',
        action: 'push',
        actorId: image.imageId,
        attributes: { name: familiarReference(parseReference(reference)) },
        timeUnixNano: nowUnixNano(),
      });
    });
  }

  /**
   * Removes blobs and layers that no image needs. What cannot be removed now, because the disk has no room for the record of it,
   * is removed by a later one: no reason to fail for whoever asks, whose work is done.
   * Marks and sweeps in one turn of the event loop: no image appears and no lease is taken between.
   */
  collect(): Collected {
    const { images, content, layers, log } = this.#has;
    try {
      const all = images.list();
      const blobs = content.collect(new Set(all.flatMap((image) => image.blobs)));
      const unpacked = layers.collect(new Set(all.flatMap((image) => image.chainIds)));
      this.#leftByLease = blobs.leased || unpacked.leased;
      return { chainIds: unpacked.chainIds, bytes: blobs.bytes + unpacked.bytes };
    } catch (err) {
      log.warn({ err }, 'what no image needs could not be removed');
      return { chainIds: [], bytes: 0 };
    }
  }

  /** The same after work that failed, once it has let go of what it held. */
  collectSoon(signal: AbortSignal): void {
    queueMicrotask(() => {
      // A service that stops has closed its database; its next start collects.
      if (!hasReason(signal.reason, 'SERVICE_STOPPING')) this.collect();
    });
  }
}
