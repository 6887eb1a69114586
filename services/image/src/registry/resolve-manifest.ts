import { hasReason } from '@flotilla/errors';
import type { Descriptor, ImageIndex, ImageManifest, Platform } from '@flotilla/oci/image';
import { platformNotFound } from '../domain/errors.ts';
import { formatPlatform, selectPlatform } from '../domain/platform.ts';
import { parseManifest } from './image-documents.ts';
import type { FetchedDocument, RegistryClient } from './registry-client.ts';
import { answerInvalid, sizeMismatch } from './registry-error.ts';

/** The manifest that a reference means on a platform. */
export interface ResolvedManifest {
  /** Of what the reference names: the index where there is one. */
  readonly topDigest: string;
  readonly document: FetchedDocument;
  readonly manifest: ImageManifest;
  /** Whether an index said that it is for the platform. */
  readonly selected: boolean;
}

/** An index in an index is legal, and nobody has one in that. */
const deepestIndex = 3;

export interface ManifestRequest {
  readonly client: RegistryClient;
  readonly tagOrDigest: string;
  readonly wanted: Platform;
  readonly signal: AbortSignal;
}

/** Follows indexes down to the manifest for a platform. PLATFORM_NOT_FOUND, and as RegistryClient.getManifest. */
export async function resolveManifest(request: ManifestRequest): Promise<ResolvedManifest> {
  const { client, tagOrDigest, wanted, signal } = request;
  const top = await client.getManifest(tagOrDigest, signal);
  return await descend(client, { topDigest: top.digest, document: top, wanted, signal, depth: 0 });
}

interface Step {
  readonly topDigest: string;
  readonly document: FetchedDocument;
  readonly wanted: Platform;
  readonly signal: AbortSignal;
  readonly depth: number;
}

async function descend(client: RegistryClient, step: Step): Promise<ResolvedManifest> {
  const { topDigest, document, wanted, signal, depth } = step;
  const parsed = parseManifest(document, client.host);
  if (parsed.kind === 'manifest') return { topDigest, document, manifest: parsed.manifest, selected: depth > 0 };
  if (depth === deepestIndex)
    throw answerInvalid(client.host, `has indexes in indexes, more than ${deepestIndex} deep`);
  const into = async ({ digest, size }: Descriptor): Promise<ResolvedManifest> => {
    const next = await client.getManifest(digest, signal);
    if (next.bytes.length !== size) throw sizeMismatch(digest, size, String(next.bytes.length));
    return await descend(client, { ...step, document: next, depth: depth + 1 });
  };
  const match = selectPlatform(parsed.index.manifests, ({ platform }) => platform, wanted);
  if (match !== undefined) return await into(match);
  // Those that do not say what they are for: a nested index, or an image whose config says it.
  for (const descriptor of parsed.index.manifests
    .filter(({ platform }) => platform === undefined)
    .slice(0, mostUnnamed)) {
    try {
      return { ...(await into(descriptor)), selected: false };
    } catch (error) {
      if (!hasReason(error, 'PLATFORM_NOT_FOUND')) throw error;
    }
  }
  throw platformNotFound(formatPlatform(wanted), offeredBy(parsed.index));
}

const mostUnnamed = 8;

function offeredBy({ manifests }: ImageIndex): string[] {
  return manifests.flatMap(({ platform }) =>
    // Attestations stand in indexes as `unknown/unknown`.
    platform === undefined || platform.os === 'unknown' ? [] : [formatPlatform(platform)],
  );
}
