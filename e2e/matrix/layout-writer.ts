import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { type Header, type Pack, pack } from 'tar-stream';

/** An entry of a layer. Times are of their own, so that one that was not kept is seen. */
export interface LayerEntry extends Partial<Omit<Header, 'size' | 'mtime' | 'name' | 'pax'>> {
  readonly name: string;
  readonly content?: Buffer | string;
  /** Instead of content: so many bytes, made as they are asked for. */
  readonly made?: { readonly bytes: number; readonly chunk: (index: number) => Buffer };
  /** Nanoseconds of its time of change, beside the seconds that it gets. */
  readonly nanoseconds?: number;
  /** Extended attributes, as latin1 text. */
  readonly xattrs?: Readonly<Record<string, string>>;
}

/** Entries, lowest layer first; each may be made as it is asked for. */
export type Layers = readonly Iterable<LayerEntry>[];

/** What an image is made of, to compare. */
export interface ImageDigests {
  readonly manifest: string;
  /** Of the config: the image's id. */
  readonly config: string;
  /** As they are in the registry. */
  readonly layers: readonly string[];
  /** Uncompressed. */
  readonly diffIds: readonly string[];
}

const firstSecond = 1_600_000_000;
const imageType = (name: string) => `application/vnd.oci.image.${name}`;
const digestOf = (data: Buffer | string) => `sha256:${createHash('sha256').update(data).digest('hex')}`;

/** Writes an image of such layers into an OCI layout, as `image`. Level 0 is gzip without compression. */
export async function writeLayout(folder: string, layers: Layers, level = 6): Promise<void> {
  const blobs = join(folder, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (data: string, mediaType: string) => {
    const digest = digestOf(data);
    writeFileSync(join(blobs, digest.slice(7)), data);
    return { mediaType, digest, size: Buffer.byteLength(data) };
  };
  const written = [];
  for (const entries of layers) written.push(await writeLayer(blobs, entries, level));
  const config = {
    created: '2024-01-02T03:04:05.123456789Z',
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Cmd: ['sh'], Env: ['PATH=/bin'], Labels: { 'a.label': 'with "quotes" & <signs>' } },
    rootfs: { type: 'layers', diff_ids: written.map(({ diffId }) => diffId) },
    history: written.map((_, number) => ({ created: '2024-01-02T03:04:05Z', created_by: `layer ${number}` })),
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: imageType('manifest.v1+json'),
    config: put(JSON.stringify(config), imageType('config.v1+json')),
    layers: written.map(({ digest, size }) => ({ mediaType: imageType('layer.v1.tar+gzip'), digest, size })),
  };
  const annotations = { 'org.opencontainers.image.ref.name': 'image' };
  const manifests = [{ ...put(JSON.stringify(manifest), manifest.mediaType), annotations }];
  writeFileSync(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}

async function writeLayer(
  blobs: string,
  entries: Iterable<LayerEntry>,
  level: number,
): Promise<{ digest: string; diffId: string; size: number }> {
  const [plain, packed] = [createHash('sha256'), createHash('sha256')];
  const file = join(blobs, 'being-written');
  const archive = pack();
  const done = pipeline(archive, hashed(plain), createGzip({ level }), hashed(packed), createWriteStream(file));
  let seconds = firstSecond;
  const times = new Map<string, number>();
  for (const entry of entries) {
    // Names of one file have one time, as in every tar of a real tree.
    const time = (entry.type === 'link' ? times.get(entry.linkname ?? '') : undefined) ?? seconds++;
    times.set(entry.name, time);
    await add(archive, entry, time);
  }
  archive.finalize();
  await done;
  const digest = packed.digest('hex');
  const size = statSync(file).size;
  renameSync(file, join(blobs, digest));
  return { digest: `sha256:${digest}`, diffId: `sha256:${plain.digest('hex')}`, size };
}

function hashed(hash: Hash): Transform {
  return new Transform({
    highWaterMark: 1 << 20,
    transform(chunk: Buffer, _, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
}

async function add(archive: Pack, entry: LayerEntry, seconds: number): Promise<void> {
  const { content = '', made, nanoseconds = 0, xattrs = {}, ...headers } = entry;
  const pax: Record<string, string> = {};
  if (nanoseconds !== 0) pax.mtime = `${seconds}.${String(nanoseconds).padStart(9, '0')}`;
  for (const [name, value] of Object.entries(xattrs)) pax[`SCHILY.xattr.${name}`] = value;
  const hasContent = headers.type === undefined || headers.type === 'file';
  const head: Partial<Header> & { name: string } = {
    mode: headers.type === 'directory' ? 0o755 : 0o644,
    ...headers,
    mtime: new Date(seconds * 1000),
    ...(Object.keys(pax).length === 0 ? {} : { pax }),
    size: hasContent ? (made?.bytes ?? Buffer.byteLength(content)) : 0,
  };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const written = (error?: Error | null) => (error ? reject(error) : resolve());
  if (made === undefined) {
    if (hasContent) archive.entry(head, content as string, written);
    else archive.entry(head, written);
  } else {
    const sink = archive.entry(head, written);
    for (let index = 0, left = made.bytes; left > 0; index++) {
      const chunk = made.chunk(index).subarray(0, left);
      left -= chunk.length;
      if (!sink.write(chunk)) await once(sink, 'drain');
    }
    sink.end(undefined);
  }
  await promise;
}
