import { FlotillaError, invalidField } from '@flotilla/errors';
import { canonicalReference, familiarReference, parseReference } from '@flotilla/oci';
import type { CommitFreezes } from './commit-freezes.ts';
import { committedConfig } from './committed-config.ts';
import { type ContainerRecord, containerEvent, type Made } from './container.ts';
import type { Engine } from './engine.ts';
import type { SnapshotTrees } from './snapshot-trees.ts';
import { isDiskFull } from './until-stored.ts';
import { checkText } from './validation/text.ts';

export interface CommitRequest {
  readonly container: string;
  /** Empty for none. */
  readonly reference: string;
  readonly comment: string;
  readonly author: string;
  readonly changes: readonly string[];
  readonly pause: boolean;
}

/**
 * Makes an image of a container; answers its id. It is frozen, if it runs and that is asked for, only while its files are
 * read, and it is thawed whatever happens. INVALID_FIELD; FAILED_PRECONDITION / CONTAINER_CREATING, CONTAINER_REMOVING.
 */
export async function commitContainer(
  engine: Engine,
  { trees, freezes }: { readonly trees: SnapshotTrees; readonly freezes: CommitFreezes },
  request: CommitRequest,
  signal: AbortSignal,
): Promise<string> {
  const { repository, now, log } = engine;
  const { author, comment, changes } = request;
  const record = repository.find(request.container);
  const { containerId, config } = record;
  const made = checkMade(record);
  const reference = checkReference(request.reference);
  checkText(author, 'author');
  checkText(comment, 'comment');
  const settings = {
    ...{ containerId, author, comment },
    reference: reference === undefined ? '' : canonicalReference(reference),
    config: committedConfig(config, made, changes),
    createdBy: createdBy(record, made),
  };
  const thaw = request.pause ? await freezes.freeze(containerId) : async () => {};
  let imageId: string;
  try {
    signal.throwIfAborted();
    imageId = await trees.commit(settings, () => void thaw(), signal);
  } catch (error) {
    // A service that stops says so, not that the caller has gone.
    throw signal.aborted ? signal.reason : error;
  } finally {
    await thaw();
  }
  const attributes = {
    ...{ comment, imageID: imageId },
    imageRef: reference === undefined ? '' : familiarReference(reference),
  };
  try {
    repository.save({ events: [containerEvent(repository.get(containerId) ?? record, 'commit', now(), attributes)] });
  } catch (error) {
    // The image is made, and another try would make another.
    if (!isDiskFull(error)) throw error;
    log.warn({ containerId, imageId }, 'the disk is full: the event of a commit is lost');
  }
  return imageId;
}

function checkMade({ made, state, name, containerId }: ContainerRecord): Made {
  if (made !== undefined && state !== 'removing' && state !== 'dead') return made;
  const text = made === undefined ? 'is being made' : 'is being removed';
  throw new FlotillaError('failed_precondition', `container ${name} ${text}: no image can be made of it`, {
    reason: made === undefined ? 'CONTAINER_CREATING' : 'CONTAINER_REMOVING',
    metadata: { containerId, state },
  });
}

function checkReference(text: string) {
  if (text === '') return undefined;
  const reference = parseReference(text);
  if (reference.digest !== undefined) throw invalidField('reference', 'a name with a tag, without a digest', text);
  return reference;
}

/** The arguments behind the entrypoint: what Docker calls the container's command. */
function createdBy({ config }: ContainerRecord, { image }: Made): string {
  const command = config.command.length > 0 || config.entrypoint.length > 0 ? config.command : image.cmd;
  return command.join(' ');
}
