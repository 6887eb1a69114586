import { parseReference, type Reference } from '@flotilla/oci';
import type { ImageStore } from '../store/image-store.ts';

/**
 * A repository of the same registry that should have each blob: of an image that was pulled from there or pushed there, which
 * its name by digest tells. Blobs of which none is known are left out.
 */
export function mountSources(
  images: ImageStore,
  target: Reference,
  digests: readonly string[],
): ReadonlyMap<string, string> {
  const wanted = new Set(digests);
  const found = new Map<string, string>();
  for (const { imageId, blobs } of images.list()) {
    const shared = blobs.filter((digest) => wanted.has(digest) && !found.has(digest));
    if (shared.length === 0) continue;
    const from = images
      .referencesOf(imageId)
      .map((reference) => parseReference(reference))
      .find(({ domain, path, digest }) => digest !== undefined && domain === target.domain && path !== target.path);
    if (from !== undefined) for (const digest of shared) found.set(digest, from.path);
  }
  return found;
}
