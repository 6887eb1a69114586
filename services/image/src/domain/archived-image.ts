import type { ImageConfigDocument, ImageManifest } from '@flotilla/oci/image';

/** An image found in an archive, everything about it checked but its layers' content. */
export interface ArchivedImage {
  /** In errors: a reference, or the digest. */
  readonly title: string;
  readonly imageId: string;
  readonly config: ImageConfigDocument;
  readonly manifestDigest: string;
  readonly manifest: ImageManifest;
  /** Canonical. */
  readonly references: readonly string[];
}
