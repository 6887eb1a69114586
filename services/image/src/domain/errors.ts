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

export function snapshotNotFound(key: string): FlotillaError {
  return new FlotillaError('not_found', `no snapshot for container ${key}`, {
    reason: 'SNAPSHOT_NOT_FOUND',
    metadata: { key },
  });
}

export function volumeNotFound(name: string): FlotillaError {
  return new FlotillaError('not_found', `no such volume: ${name}`, { reason: 'VOLUME_NOT_FOUND', metadata: { name } });
}
