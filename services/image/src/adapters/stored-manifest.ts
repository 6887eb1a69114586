import { type Descriptor, type ImageManifest, manifestSchema, mediaTypes, parseDocument } from '@flotilla/oci/image';
import type { ImageRecord } from '../domain/image.ts';
import type { ContentStore } from './content-store.ts';

/** An image's manifest as it came, or was made when the image was loaded: its bytes are what its digest is of. */
export interface StoredManifest {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly manifest: ImageManifest;
}

/** Reads it from the store. */
export function readStoredManifest(content: ContentStore, { manifestDigest }: ImageRecord): StoredManifest {
  const bytes = content.read(manifestDigest);
  const manifest = parseDocument(manifestSchema, bytes, `manifest ${manifestDigest}`);
  // It may leave its type to whoever describes it; its config's tells the family.
  const isDocker = manifest.config.mediaType === mediaTypes.dockerConfig;
  const mediaType = manifest.mediaType ?? (isDocker ? mediaTypes.dockerManifest : mediaTypes.ociManifest);
  return { bytes, mediaType, manifest };
}

/** Config and layers, each once: layers may be the same. */
export function uniqueBlobs({ config, layers }: ImageManifest): Descriptor[] {
  return [...new Map([...layers, config].map((descriptor) => [descriptor.digest, descriptor])).values()];
}
