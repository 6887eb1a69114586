import { FlotillaError } from '@flotilla/errors';

export function imageNotFound(image: string): FlotillaError {
  return new FlotillaError('not_found', `no such image: ${image}`, { reason: 'IMAGE_NOT_FOUND', metadata: { image } });
}

export function imageAmbiguous(image: string): FlotillaError {
  return new FlotillaError('invalid_argument', `several images have ids that begin with ${image}`, {
    reason: 'IMAGE_AMBIGUOUS',
    metadata: { image },
  });
}

export function imageInUse(image: string, containerId: string, more: string): FlotillaError {
  return new FlotillaError(
    'failed_precondition',
    `image ${image} cannot be removed: ${more} (container ${containerId.slice(0, 12)})`,
    { reason: 'IMAGE_IN_USE', metadata: { image, containerId } },
  );
}

/** There is an image, but none for the platform that was asked for. */
export function platformNotFound(wanted: string, offered: readonly string[], image?: string): FlotillaError {
  const list = [...new Set(offered)].sort().join(', ');
  const name = image === undefined ? 'there is' : `${image}: there is`;
  return new FlotillaError('not_found', `${name} no image for ${wanted}, only for ${list === '' ? 'none' : list}`, {
    reason: 'PLATFORM_NOT_FOUND',
    metadata: { platform: wanted, offered: list.slice(0, 1000), ...(image === undefined ? {} : { image }) },
  });
}

export function blobMissing(blob: string, image: string): FlotillaError {
  return new FlotillaError('invalid_argument', `${image} names ${blob}, which the archive does not hold`, {
    reason: 'BLOB_MISSING',
    metadata: { blob, image },
  });
}

export function digestMismatch(what: string, expected: string, got: string): FlotillaError {
  return new FlotillaError('invalid_argument', `${what} should have digest ${expected} and has ${got}`, {
    reason: 'DIGEST_MISMATCH',
    metadata: { blob: what, expected, got },
  });
}

/** The store's disk has lost, or changed, some of a blob that was whole. */
export function blobDamaged(digest: string, cause?: unknown): FlotillaError {
  return new FlotillaError('data_loss', `blob ${digest} is damaged in the store: pull or load its image again`, {
    reason: 'BLOB_DAMAGED',
    metadata: { blob: digest },
    cause,
  });
}

export function snapshotNotFound(key: string): FlotillaError {
  return new FlotillaError('not_found', `no snapshot for container ${key}`, {
    reason: 'SNAPSHOT_NOT_FOUND',
    metadata: { key },
  });
}

export function volumeNotFound(name: string): FlotillaError {
  return new FlotillaError('not_found', `no such volume: ${name}`, { reason: 'VOLUME_NOT_FOUND', metadata: { name } });
}
