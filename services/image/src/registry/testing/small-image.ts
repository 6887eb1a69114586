import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { sha256Digest } from '@flotilla/oci';
import { mediaTypes } from '@flotilla/oci/image';
import { pack } from 'tar-stream';
import type { OddRegistry } from './odd-registry.ts';

/** Bytes of each layer's file. */
export const layerBytes = 300_000;

async function tar(name: string, content: Buffer): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name, mode: 0o644, uid: 0, gid: 0 }, content);
  archive.finalize();
  return await buffer(archive as unknown as NodeJS.ReadableStream);
}

export interface SmallImage {
  readonly manifest: { readonly config: object; readonly layers: { readonly digest: string; readonly size: number }[] };
  readonly layers: readonly Buffer[];
}

/** Puts an image of three layers there: one plain, one in gzip, one in zstd. Their files hold noise, so each is long. */
export async function putSmallImage(
  registry: OddRegistry,
  tag: string,
  { names = ['plain', 'gzip', 'zstd'] }: { readonly names?: readonly string[] } = {},
): Promise<SmallImage> {
  const tars = await Promise.all(names.map((name) => tar(name, randomBytes(layerBytes))));
  const types = [mediaTypes.ociLayer, mediaTypes.dockerLayerGzip, mediaTypes.ociLayerZstd];
  const layers = tars.map((one, i) => [one, gzipSync(one), zstdCompressSync(one)][i % 3]!);
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['sh'] },
    rootfs: { type: 'layers', diff_ids: tars.map(sha256Digest) },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, ...registry.putBlob(Buffer.from(JSON.stringify(config))) },
    layers: layers.map((layer, i) => ({ mediaType: types[i % 3]!, ...registry.putBlob(layer) })),
  };
  registry.putManifest(manifest, mediaTypes.ociManifest, tag);
  return { manifest, layers };
}
