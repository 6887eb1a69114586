import { FlotillaError } from '@flotilla/errors';
import type { EventPublisher } from '@flotilla/events';
import { nowUnixNano } from '@flotilla/linux';
import { familiarReference, parseReference } from '@flotilla/oci';
import type { Database } from '@flotilla/store';
import { imageInUse } from '../domain/errors.ts';
import type { ImageRecord } from '../domain/image.ts';
import type { ImageStore } from '../store/image-store.ts';
import type { ImageRecorder } from './image-recorder.ts';
import type { SnapshotStore } from './snapshot-store.ts';

export interface ImageRemoverDependencies {
  readonly database: Database;
  readonly images: ImageStore;
  readonly snapshots: SnapshotStore;
  readonly recorder: ImageRecorder;
  readonly publisher: EventPublisher;
}

/** Gives references and takes them away; an image goes with its last one. */
export class ImageRemover {
  readonly #has: ImageRemoverDependencies;

  constructor(dependencies: ImageRemoverDependencies) {
    this.#has = dependencies;
  }

  tag(image: ImageRecord, reference: string): void {
    const { database, images } = this.#has;
    if (images.findReference(reference) === image.imageId) return;
    database.transact(() => {
      images.tag(reference, image.imageId);
      this.#announce('tag', image.imageId, reference);
    });
  }

  /**
   * By reference: takes that one away, and the image with its last. By id: all of it; FAILED_PRECONDITION / IMAGE_IN_USE
   * while a container uses it, IMAGE_HAS_REFERENCES when there are several and `force` is not set.
   */
  remove(text: string, force: boolean): { untagged: string[]; deleted: string[] } {
    const { database, images, snapshots, recorder } = this.#has;
    const { image, reference } = images.resolve(text);
    const all = images.referencesOf(image.imageId);
    const byName = reference !== undefined && all.includes(reference);
    const going = byName ? withDigests(reference, all) : all;
    const tags = all.filter(isTag);
    const deletes = going.length === all.length;
    const [user] = deletes ? snapshots.usersOf(image.imageId) : [];
    if (user !== undefined) throw imageInUse(text, user, 'a container uses it');
    if (!byName && tags.length > 1 && !force) {
      throw new FlotillaError(
        'failed_precondition',
        `image ${text} has several references (${tags.map(shown).join(', ')}); remove it by force, or remove them one by one`,
        { reason: 'IMAGE_HAS_REFERENCES', metadata: { image: text, references: tags.map(shown).join(',') } },
      );
    }
    database.transact(() => {
      for (const one of going) {
        images.untag(one);
        this.#announce('untag', image.imageId, one);
      }
      if (!deletes) return;
      images.remove(image.imageId);
      this.#announce('delete', image.imageId, undefined);
    });
    return {
      untagged: going.map(shown),
      deleted: deletes ? [image.imageId, ...recorder.collect().chainIds] : [],
    };
  }

  /** Takes images away whole, with all their references, and says what that has freed. None of them is in use. */
  removeAll(going: readonly ImageRecord[]): { removed: string[]; bytes: number } {
    const { database, images, recorder } = this.#has;
    const removed: string[] = [];
    database.transact(() => {
      for (const { imageId } of going) {
        for (const reference of images.referencesOf(imageId)) {
          images.untag(reference);
          this.#announce('untag', imageId, reference);
          removed.push(shown(reference));
        }
        images.remove(imageId);
        this.#announce('delete', imageId, undefined);
        removed.push(imageId);
      }
    });
    const { chainIds, bytes } = recorder.collect();
    return { removed: [...removed, ...chainIds], bytes };
  }

  #announce(action: 'tag' | 'untag' | 'delete', imageId: string, reference: string | undefined): void {
    this.#has.publisher.announce({
      type: 'image',
      action,
      actorId: imageId,
      attributes: reference === undefined ? {} : { name: shown(reference) },
      timeUnixNano: nowUnixNano(),
    });
  }
}

const isTag = (reference: string) => parseReference(reference).tag !== undefined;
const nameOf = (reference: string) => `${parseReference(reference).domain}/${parseReference(reference).path}`;

/** The last tag of a repository takes with it what says by which digest it was pulled from there. */
function withDigests(reference: string, all: readonly string[]): string[] {
  const ofSame = all.filter((one) => one !== reference && nameOf(one) === nameOf(reference));
  return !isTag(reference) || ofSame.some(isTag) ? [reference] : [reference, ...ofSame];
}

function shown(reference: string): string {
  return familiarReference(parseReference(reference));
}
