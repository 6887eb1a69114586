import { familiarReference, parseReference } from '@flotilla/oci';
import { mediaTypes } from '@flotilla/oci/image';
import type { StoredManifest } from '../adapters/stored-manifest.ts';
import type { ImageRecord } from '../domain/image.ts';

/** An image that is saved, with the names that go with it. */
export interface SavedImage {
  readonly image: ImageRecord;
  readonly stored: StoredManifest;
  /** Canonical, with a tag each. */
  readonly references: readonly string[];
}

/** A file of the archive that is not a blob. */
export interface ArchiveDocument {
  readonly name: string;
  readonly bytes: Buffer;
}

/**
 * The documents that make a folder of blobs an OCI layout (image-spec, image-layout.md) and a docker-archive at once, as
 * Docker writes it since 25: of the same images always the same bytes.
 */
export function archiveDocuments(saved: readonly SavedImage[]): ArchiveDocument[] {
  const manifests = saved.flatMap(({ image, stored, references }) => {
    const descriptor = { mediaType: stored.mediaType, digest: image.manifestDigest, size: stored.bytes.length };
    if (references.length === 0) return [descriptor];
    return references.map((reference) => ({ ...descriptor, annotations: annotationsOf(reference) }));
  });
  const dockers = saved.map(({ image, stored, references }) => ({
    Config: blobName(image.imageId),
    RepoTags: references.length === 0 ? null : references.map((one) => familiarReference(parseReference(one))),
    Layers: stored.manifest.layers.map(({ digest }) => blobName(digest)),
  }));
  return [
    document('oci-layout', { imageLayoutVersion: '1.0.0' }),
    document('index.json', { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }),
    document('manifest.json', dockers),
  ];
}

/** Where an archive has a blob. */
export function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function document(name: string, value: unknown): ArchiveDocument {
  return { name, bytes: Buffer.from(JSON.stringify(value)) };
}

/** The whole name where containerd and Docker look for it, the tag alone where the image-spec wants it. */
function annotationsOf(reference: string): Record<string, string> {
  const { tag = '' } = parseReference(reference);
  return { 'io.containerd.image.name': reference, 'org.opencontainers.image.ref.name': tag };
}
