import { type Descriptor, type ImageConfigDocument, type ImageManifest, mediaTypes } from '@flotilla/oci/image';

/** What a commit says of its image. */
export interface CommitSettings {
  /** Defaults for containers: all of them. */
  readonly config: NonNullable<ImageConfigDocument['config']>;
  readonly author: string;
  readonly comment: string;
  /** Command of its step. */
  readonly createdBy: string;
}

export interface CommitStep extends CommitSettings {
  /** RFC 3339. */
  readonly created: string;
  /** Of the uncompressed layer; undefined when nothing was changed. */
  readonly diffId: string | undefined;
}

/** The config of an image that adds a step to another's (OCI image-spec, config.md), with the fields that Docker's has. */
export function committedConfig(base: ImageConfigDocument, step: CommitStep): ImageConfigDocument {
  const { created, author, comment, createdBy, config, diffId } = step;
  return {
    created,
    ...(author === '' ? {} : { author }),
    architecture: base.architecture,
    ...(base.variant ? { variant: base.variant } : {}),
    os: base.os,
    config,
    rootfs: { type: 'layers', diff_ids: [...base.rootfs.diff_ids, ...(diffId === undefined ? [] : [diffId])] },
    history: [
      ...(base.history ?? []),
      {
        created,
        created_by: createdBy,
        ...(author === '' ? {} : { author }),
        ...(comment === '' ? {} : { comment }),
        ...(diffId === undefined ? { empty_layer: true } : {}),
      },
    ],
  };
}

/** Docker's names for layers, which are the same files, do not belong into an OCI manifest. */
const ociNames: Readonly<Record<string, string>> = {
  [mediaTypes.dockerLayer]: mediaTypes.ociLayer,
  [mediaTypes.dockerLayerGzip]: mediaTypes.ociLayerGzip,
  [mediaTypes.dockerLayerZstd]: mediaTypes.ociLayerZstd,
};

/** The manifest that goes with it (OCI image-spec, manifest.md). */
export function committedManifest(
  base: ImageManifest,
  config: Pick<Descriptor, 'digest' | 'size'>,
  layer: Pick<Descriptor, 'digest' | 'size'> | undefined,
): ImageManifest {
  const below = base.layers.map(({ mediaType = mediaTypes.ociLayer, digest, size }) => ({
    mediaType: ociNames[mediaType] ?? mediaType,
    digest,
    size,
  }));
  return {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, ...config },
    layers: [...below, ...(layer === undefined ? [] : [{ mediaType: mediaTypes.ociLayerGzip, ...layer }])],
  };
}
