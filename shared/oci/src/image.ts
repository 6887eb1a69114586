import { FlotillaError } from '@flotilla/errors';
import { z } from 'zod';
import { isDigest } from './digest.ts';

// Images as others wrote them: untrusted. Every text that is read here is bounded and every field checked; fields that
// nobody uses are dropped (OCI image-spec: descriptor.md, manifest.md, image-index.md, config.md; Docker's image spec v1.2).

export const mediaTypes = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
} as const;

/** Bytes that an index, a manifest or a config may have. */
export const largestDocument = 8 << 20;

const most = 10_000;
const text = z.string().max(1 << 20);
const texts = z.array(text).max(most);
const map = z.record(text, text);
const size = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const digest = z.string().refine(isDigest, 'expected `sha256:` and 64 hexadecimal digits');

const platform = z.object({ architecture: text, os: text, variant: text.optional() });
export type Platform = z.infer<typeof platform>;

const descriptor = z.object({
  mediaType: text.optional(),
  digest,
  size,
  platform: platform.optional(),
  annotations: map.nullish(),
});
export type Descriptor = z.infer<typeof descriptor>;

export const indexSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: text.optional(),
  manifests: z.array(descriptor).max(most),
  annotations: map.nullish(),
});
export type ImageIndex = z.infer<typeof indexSchema>;

export const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: text.optional(),
  config: descriptor,
  layers: z.array(descriptor).max(most),
  annotations: map.nullish(),
});
export type ImageManifest = z.infer<typeof manifestSchema>;

const emptyObjects = z.record(text, z.unknown()).nullish();
const durationNanos = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).nullish();

export const imageConfigSchema = z.object({
  created: text.nullish(),
  author: text.nullish(),
  comment: text.nullish(),
  architecture: text.default(''),
  os: text.default(''),
  variant: text.nullish(),
  config: z
    .object({
      User: text.nullish(),
      ExposedPorts: emptyObjects,
      Env: texts.nullish(),
      Entrypoint: texts.nullish(),
      Cmd: texts.nullish(),
      Volumes: emptyObjects,
      WorkingDir: text.nullish(),
      Labels: map.nullish(),
      StopSignal: text.nullish(),
      Shell: texts.nullish(),
      OnBuild: texts.nullish(),
      Healthcheck: z
        .object({
          Test: texts.nullish(),
          Interval: durationNanos,
          Timeout: durationNanos,
          StartPeriod: durationNanos,
          StartInterval: durationNanos,
          Retries: z.number().int().min(0).max(0xffffffff).nullish(),
        })
        .nullish(),
    })
    .nullish(),
  rootfs: z.object({ type: z.literal('layers'), diff_ids: z.array(digest).max(most) }),
  history: z
    .array(
      z.object({
        created: text.nullish(),
        created_by: text.nullish(),
        author: text.nullish(),
        comment: text.nullish(),
        empty_layer: z.boolean().nullish(),
      }),
    )
    .max(most)
    .nullish(),
});
export type ImageConfigDocument = z.infer<typeof imageConfigSchema>;

/** `manifest.json` of a docker-archive. */
export const dockerArchiveSchema = z
  .array(z.object({ Config: text, RepoTags: texts.nullish(), Layers: texts.nullish() }))
  .max(most);

/** Reads a JSON document. INVALID_ARGUMENT / DOCUMENT_INVALID with the document's name and what is wrong in it. */
export function parseDocument<T>(schema: z.ZodType<T>, bytes: Uint8Array, name: string): T {
  if (bytes.length > largestDocument) throw documentInvalid(name, `has more than ${largestDocument} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw documentInvalid(name, 'is not JSON', cause);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw documentInvalid(name, `has a wrong field ${issue?.path.join('.') || '(top)'}: ${issue?.message ?? ''}`);
}

function documentInvalid(name: string, problem: string, cause?: unknown): FlotillaError {
  return new FlotillaError('invalid_argument', `${name} ${problem}`, {
    reason: 'DOCUMENT_INVALID',
    metadata: { document: name, problem },
    cause,
  });
}
