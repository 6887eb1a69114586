import { readFileSync } from 'node:fs';
import { FlotillaError } from '@flotilla/errors';
import { canonicalReference, parseReference } from '@flotilla/oci';
import {
  type Descriptor,
  dockerArchiveSchema,
  type ImageIndex,
  imageConfigSchema,
  indexSchema,
  largestDocument,
  manifestSchema,
  mediaTypes,
  parseDocument,
} from '@flotilla/oci/image';
import type { ArchivedImage } from '../domain/archived-image.ts';
import { blobMissing, digestMismatch, platformNotFound } from '../domain/errors.ts';
import { formatPlatform, selectPlatform } from '../domain/platform.ts';
import { type ContentStore, type Ingest, type IngestedFile, once } from './content-store.ts';
import { layerMediaType } from './layer-media-type.ts';
import type { ArchiveFiles } from './read-archive.ts';

/** Where an archive's images are looked for. */
export interface ArchiveSource {
  readonly files: ArchiveFiles;
  readonly content: ContentStore;
  readonly ingest: Ingest;
  /** GOARCH of this host. */
  readonly architecture: string;
}

/** An image and the files that it needs in the store. */
export interface FoundImage extends ArchivedImage {
  readonly files: readonly IngestedFile[];
}

/** The images of an OCI layout (image-spec, image-layout.md) or, without an index, of a docker-archive. */
export async function findImages(source: ArchiveSource): Promise<FoundImage[]> {
  const index = source.files.find('index.json');
  if (index !== undefined)
    return findOciImages(source, parseDocument(indexSchema, readBounded(index, 'index.json'), 'index.json'));
  const manifest = source.files.find('manifest.json');
  if (manifest !== undefined) return findDockerImages(source, readBounded(manifest, 'manifest.json'));
  throw new FlotillaError(
    'invalid_argument',
    'the archive holds no image: neither index.json (OCI layout) nor manifest.json (docker-archive); a root file system is taken by `import`',
    { reason: 'ARCHIVE_NOT_IMAGE' },
  );
}

function findOciImages(source: ArchiveSource, index: ImageIndex): FoundImage[] {
  const found = index.manifests.map((descriptor) => {
    const { annotations } = descriptor;
    const name = annotations?.['io.containerd.image.name'] ?? annotations?.['org.opencontainers.image.ref.name'];
    const manifestDescriptor = selectManifest(source, descriptor, name ?? descriptor.digest);
    return readOciImage(source, manifestDescriptor, name);
  });
  return mergeNames(found);
}

/** An image stands in an index once for each of its names. */
function mergeNames(found: readonly FoundImage[]): FoundImage[] {
  const merged = new Map<string, FoundImage>();
  for (const image of found) {
    const other = merged.get(image.manifestDigest);
    const references = [...new Set([...(other?.references ?? []), ...image.references])];
    merged.set(image.manifestDigest, { ...(other ?? image), references });
  }
  return [...merged.values()];
}

/** An index within the index stands for one image on several platforms: ours is taken. */
function selectManifest(source: ArchiveSource, descriptor: Descriptor, title: string, depth = 0): Descriptor {
  const isIndex =
    descriptor.mediaType === mediaTypes.ociIndex || descriptor.mediaType === mediaTypes.dockerManifestList;
  if (!isIndex || depth > 4) return descriptor;
  const bytes = blob(source, descriptor, title).bytes;
  const { manifests } = parseDocument(indexSchema, bytes, `index ${descriptor.digest}`);
  const wanted = { os: 'linux', architecture: source.architecture };
  const match = selectPlatform(manifests, ({ platform }) => platform, wanted);
  if (match === undefined) {
    const offered = manifests.map(({ platform }) => (platform === undefined ? 'unknown' : formatPlatform(platform)));
    throw platformNotFound(formatPlatform(wanted), offered, title);
  }
  return selectManifest(source, match, title, depth + 1);
}

function readOciImage(source: ArchiveSource, descriptor: Descriptor, name: string | undefined): FoundImage {
  const title = name ?? descriptor.digest;
  const manifestBlob = blob(source, descriptor, title);
  const manifest = parseDocument(manifestSchema, manifestBlob.bytes, `manifest ${descriptor.digest}`);
  const configBlob = blob(source, manifest.config, title);
  const config = parseDocument(imageConfigSchema, configBlob.bytes, `config ${manifest.config.digest}`);
  checkLayerCount(title, manifest.layers.length, config.rootfs.diff_ids.length);
  const layers = manifest.layers.map((layer) => requireBlob(source, layer, title));
  return {
    title,
    imageId: manifest.config.digest,
    config,
    manifestDigest: descriptor.digest,
    manifest,
    references: referencesOf(name === undefined ? [] : [name]),
    files: [manifestBlob.file, configBlob.file, ...layers].filter((file) => file !== undefined),
  };
}

async function findDockerImages(source: ArchiveSource, bytes: Buffer): Promise<FoundImage[]> {
  const entries = parseDocument(dockerArchiveSchema, bytes, 'manifest.json');
  const found: FoundImage[] = [];
  for (const { Config: configName, RepoTags: tags, Layers: layerNames } of entries) {
    const title = tags?.[0] ?? configName;
    const configFile = source.files.find(configName);
    if (configFile === undefined) throw blobMissing(configName, title);
    const config = parseDocument(imageConfigSchema, readBounded(configFile, configName), configName);
    checkLayerCount(title, layerNames?.length ?? 0, config.rootfs.diff_ids.length);
    const layers = (layerNames ?? []).map((layer) => {
      const file = source.files.find(layer);
      if (file === undefined) throw blobMissing(layer, title);
      return file;
    });
    // The archive has no manifest: the one made here is the same whenever the same archive is loaded.
    const manifest = {
      schemaVersion: 2 as const,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: configFile.digest, size: configFile.sizeBytes },
      layers: layers.map(({ path, digest, sizeBytes }) => ({
        mediaType: layerMediaType(path),
        digest,
        size: sizeBytes,
      })),
    };
    const manifestFile = await source.ingest.write(once(Buffer.from(JSON.stringify(manifest))));
    found.push({
      title,
      imageId: configFile.digest,
      config,
      manifestDigest: manifestFile.digest,
      manifest,
      references: referencesOf(tags ?? []),
      files: [manifestFile, configFile, ...layers],
    });
  }
  return found;
}

function blob(
  source: ArchiveSource,
  descriptor: Descriptor,
  image: string,
): { bytes: Buffer; file: IngestedFile | undefined } {
  const file = requireBlob(source, descriptor, image);
  if (file !== undefined) return { bytes: readBounded(file, descriptor.digest), file };
  return { bytes: source.content.read(descriptor.digest), file };
}

/** The file of a blob, absent when the store has it already. BLOB_MISSING, DIGEST_MISMATCH when its size is another. */
function requireBlob(source: ArchiveSource, { digest, size }: Descriptor, image: string): IngestedFile | undefined {
  const file = source.files.findBlob(digest);
  if (file === undefined) {
    if (source.content.has(digest)) return undefined;
    throw blobMissing(digest, image);
  }
  if (file.sizeBytes !== size) throw digestMismatch(`blob ${digest}`, `${size} bytes`, `${file.sizeBytes} bytes`);
  return file;
}

function checkLayerCount(image: string, layers: number, diffIds: number): void {
  if (layers === diffIds) return;
  throw new FlotillaError('invalid_argument', `${image} has ${layers} layers and ${diffIds} diff ids`, {
    reason: 'DOCUMENT_INVALID',
    metadata: { image, layers: String(layers), diffIds: String(diffIds) },
  });
}

function readBounded(file: IngestedFile, name: string): Buffer {
  if (file.sizeBytes > largestDocument) {
    throw new FlotillaError('invalid_argument', `${name} has more than ${largestDocument} bytes`, {
      reason: 'DOCUMENT_INVALID',
      metadata: { document: name },
    });
  }
  return readFileSync(file.path);
}

function referencesOf(names: readonly string[]): string[] {
  return names.map((name) => canonicalReference(parseReference(name, 'reference of the archive')));
}
