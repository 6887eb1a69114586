import { FlotillaError } from '@flotilla/errors';
import {
  type Descriptor,
  type ImageConfigDocument,
  type ImageIndex,
  type ImageManifest,
  imageConfigSchema,
  indexSchema,
  largestDocument,
  manifestSchema,
  mediaTypes,
  parseDocument,
} from '@flotilla/oci/image';
import type { FetchedDocument } from './registry-client.ts';
import { answerInvalid, mediaTypeUnsupported } from './registry-error.ts';

/** What a registry may answer when asked for a manifest. */
export type ManifestDocument =
  | { readonly kind: 'index'; readonly index: ImageIndex }
  | { readonly kind: 'manifest'; readonly manifest: ImageManifest };

const indexTypes: readonly string[] = [mediaTypes.ociIndex, mediaTypes.dockerManifestList];
const manifestTypes: readonly string[] = [mediaTypes.ociManifest, mediaTypes.dockerManifest];
/** overlayfs takes 500 (Linux, OVL_MAX_STACK), of which one is the container's own when its root is looked at. */
const mostLayers = 499;

/**
 * Reads a manifest or an index. What it is, the document itself says; where it does not, the registry's word or its fields
 * do. A document that could be read as both is refused (CVE-2021-41190). REGISTRY_ANSWER_INVALID, DOCUMENT_INVALID,
 * MEDIA_TYPE_UNSUPPORTED.
 */
export function parseManifest({ bytes, digest, mediaType }: FetchedDocument, host: string): ManifestDocument {
  const name = `manifest ${digest}`;
  const fields = readObject(bytes, host);
  const own = typeof fields.mediaType === 'string' ? fields.mediaType : '';
  const type = own === '' ? mediaType : own;
  if (fields.schemaVersion === 1) {
    throw mediaTypeUnsupported(name, type, 'images of schema 1 must be pushed again by a newer Docker');
  }
  const hasManifests = 'manifests' in fields;
  const hasLayers = 'layers' in fields || 'config' in fields;
  const known = [...indexTypes, ...manifestTypes];
  if (own !== '' && known.includes(mediaType) && own !== mediaType) {
    throw answerInvalid(host, `calls ${name} ${mediaType}, and it calls itself ${own}`);
  }
  if (hasManifests && hasLayers) throw answerInvalid(host, `sends ${name}, which is an index and a manifest at once`);
  if (indexTypes.includes(type) || (!known.includes(type) && hasManifests)) {
    return { kind: 'index', index: parseDocument(indexSchema, bytes, `index ${digest}`) };
  }
  if (!manifestTypes.includes(type) && !hasLayers) throw mediaTypeUnsupported(name, type || 'no type that we know');
  const manifest = parseDocument(manifestSchema, bytes, name);
  checkManifest(manifest, name);
  return { kind: 'manifest', manifest };
}

function readObject(bytes: Buffer, host: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw answerInvalid(host, 'sends something as a manifest that is not JSON', cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw answerInvalid(host, 'sends something as a manifest that is no object');
  }
  return value as Record<string, unknown>;
}

function checkManifest({ config, layers }: ImageManifest, name: string): void {
  const configTypes: readonly string[] = [mediaTypes.ociConfig, mediaTypes.dockerConfig];
  if (config.mediaType !== undefined && !configTypes.includes(config.mediaType)) {
    throw mediaTypeUnsupported(
      `the config of ${name}`,
      config.mediaType,
      'it is no image but something else kept in a registry',
    );
  }
  if (config.size > largestDocument) throw documentInvalid(name, `has a config of more than ${largestDocument} bytes`);
  if (layers.length > mostLayers) throw documentInvalid(name, `has ${layers.length} layers, more than ${mostLayers}`);
  for (const { digest, mediaType = mediaTypes.ociLayer } of layers) {
    if (!layerTypes.has(mediaType)) throw mediaTypeUnsupported(`layer ${digest}`, mediaType, layerHint(mediaType));
  }
}

const layerTypes = new Set<string>([
  mediaTypes.ociLayer,
  mediaTypes.ociLayerGzip,
  mediaTypes.ociLayerZstd,
  mediaTypes.dockerLayer,
  mediaTypes.dockerLayerGzip,
  mediaTypes.dockerLayerZstd,
]);

function layerHint(mediaType: string): string {
  if (mediaType.includes('encrypted')) return 'encrypted layers cannot be read';
  if (mediaType.includes('foreign') || mediaType.includes('nondistributable')) return 'it is not kept in registries';
  return '';
}

/** Reads a config and checks that it belongs to the manifest. DOCUMENT_INVALID. */
export function parseConfig(bytes: Uint8Array, manifest: ImageManifest): ImageConfigDocument {
  const name = `config ${manifest.config.digest}`;
  const config = parseDocument(imageConfigSchema, bytes, name);
  const [layers, diffIds] = [manifest.layers.length, config.rootfs.diff_ids.length];
  if (layers !== diffIds) throw documentInvalid(name, `has ${diffIds} diff ids for ${layers} layers`);
  return config;
}

/** Sum of layers that are fetched. DOCUMENT_INVALID beyond `most`. */
export function checkTotal(layers: readonly Descriptor[], most: number): void {
  const total = layers.reduce((sum, { size }) => sum + size, 0);
  if (total > most) throw documentInvalid('the manifest', `has layers of ${total} bytes, more than ${most}`);
}

function documentInvalid(document: string, problem: string): FlotillaError {
  return new FlotillaError('invalid_argument', `${document} ${problem}`, {
    reason: 'DOCUMENT_INVALID',
    metadata: { document, problem },
  });
}
