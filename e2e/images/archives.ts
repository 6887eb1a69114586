import { createHash } from 'node:crypto';
import { type TarEntry, tar } from './tar-writer.ts';

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

/** What is wrong with an archive. */
export interface Flaws {
  /** The config claims another digest of the uncompressed layer than it has. */
  readonly wrongDiffId?: boolean;
  /** The manifest names a layer that is not in the archive. */
  readonly missingLayer?: boolean;
  /** OCI: a blob's content does not match its name. */
  readonly changedBlob?: boolean;
  /** Bytes of the layer as it is stored, instead of the tar. */
  readonly layerBytes?: Buffer;
}

function configOf(diffId: string): Buffer {
  const rootfs = { type: 'layers', diff_ids: [`sha256:${diffId}`] };
  return json({
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Cmd: ['sh'] },
    rootfs,
  });
}

/** A docker-archive of one layer. */
export function dockerArchive(reference: string, entries: readonly TarEntry[], flaws: Flaws = {}): Buffer {
  const layer = tar(entries);
  const config = configOf(flaws.wrongDiffId === true ? '0'.repeat(64) : sha256(layer));
  const manifest = [{ Config: 'config.json', RepoTags: [reference], Layers: ['layer.tar'] }];
  return tar([
    { name: 'config.json', content: config },
    ...(flaws.missingLayer === true ? [] : [{ name: 'layer.tar', content: flaws.layerBytes ?? layer }]),
    { name: 'manifest.json', content: json(manifest) },
  ]);
}

/** A docker-archive of several layers. */
export function layeredArchive(reference: string, layers: readonly (readonly TarEntry[])[]): Buffer {
  const tars = layers.map((entries) => tar(entries));
  const config = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Cmd: ['sh'] },
    rootfs: { type: 'layers', diff_ids: tars.map((layer) => `sha256:${sha256(layer)}`) },
  };
  const names = tars.map((_, at) => `${at}/layer.tar`);
  return tar([
    { name: 'config.json', content: json(config) },
    ...tars.map((content, at) => ({ name: names[at]!, content })),
    { name: 'manifest.json', content: json([{ Config: 'config.json', RepoTags: [reference], Layers: names }]) },
  ]);
}

/** An OCI image layout of one layer. */
export function ociArchive(reference: string, entries: readonly TarEntry[], flaws: Flaws = {}): Buffer {
  const layer = tar(entries);
  const config = configOf(sha256(layer));
  const describe = (mediaType: string, data: Buffer) => ({
    mediaType,
    digest: `sha256:${sha256(data)}`,
    size: data.length,
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: describe('application/vnd.oci.image.config.v1+json', config),
    layers: [describe('application/vnd.oci.image.layer.v1.tar', layer)],
  });
  const described = describe('application/vnd.oci.image.manifest.v1+json', manifest);
  const annotations = { 'org.opencontainers.image.ref.name': reference };
  const blob = (data: Buffer, content = data) => ({ name: `blobs/sha256/${sha256(data)}`, content });
  const changed = Buffer.from(layer);
  changed[0] = (changed[0] ?? 0) ^ 1;
  return tar([
    { name: 'oci-layout', content: json({ imageLayoutVersion: '1.0.0' }) },
    { name: 'index.json', content: json({ schemaVersion: 2, manifests: [{ ...described, annotations }] }) },
    blob(manifest),
    blob(config),
    ...(flaws.missingLayer === true ? [] : [blob(layer, flaws.changedBlob === true ? changed : layer)]),
  ]);
}
