import { posix } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { FlotillaError } from '@flotilla/errors';
import { formatDigest } from '@flotilla/oci';
import { extract } from 'tar-stream';
import { decompressor, detectCompression } from '../unpack/decompress.ts';
import { archiveNotTar, archiveTooLarge, archiveTruncated, toArchiveError } from '../unpack/layer-error.ts';
import type { Ingest, IngestedFile } from './content-store.ts';

/** Files of an image archive by name, each in the ingest folder; links among them are resolved. */
export class ArchiveFiles {
  readonly #files = new Map<string, IngestedFile>();
  readonly #links = new Map<string, string>();

  add(name: string, file: IngestedFile): void {
    this.#files.set(name, file);
    this.#links.delete(name);
  }

  link(name: string, target: string): void {
    this.#links.set(name, target);
  }

  /** Docker once wrote a layer that two images share as a link to the first. */
  find(name: string): IngestedFile | undefined {
    let at = posix.normalize(name);
    for (let hops = 0; hops < 16; hops++) {
      const target = this.#links.get(at);
      if (target === undefined) return this.#files.get(at);
      at = target;
    }
    return undefined;
  }

  findBlob(digest: string): IngestedFile | undefined {
    return this.find(`blobs/${digest.replace(':', '/')}`);
  }

  get count(): number {
    return this.#files.size;
  }
}

export interface ReadArchiveOptions {
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly ingest: Ingest;
  /** Once decompressed. */
  readonly maxBytes: number;
  readonly onProgress: (file: string, bytes: number) => void;
}

const mostFiles = 100_000;
const blobName = /^blobs\/sha256\/([0-9a-f]{64})$/;

/**
 * Takes an image archive apart, plain or compressed: each file goes to disk once, hashed; what is named by its digest must
 * have it. ARCHIVE_TRUNCATED, ARCHIVE_NOT_TAR, ARCHIVE_TOO_LARGE, DIGEST_MISMATCH.
 */
export async function readArchive(options: ReadArchiveOptions): Promise<ArchiveFiles> {
  try {
    return await read(options);
  } catch (error) {
    throw toArchiveError(error);
  }
}

async function read({ chunks, ingest, maxBytes, onProgress }: ReadArchiveOptions): Promise<ArchiveFiles> {
  const files = new ArchiveFiles();
  const { head, all } = await peek(chunks);
  if (head.length === 0) throw archiveTruncated();
  let size = 0;
  const guard = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size > maxBytes) done(archiveTooLarge('bytes', maxBytes));
      else done(null, chunk);
    },
  });
  const parser = extract();
  const piped = pipeline(
    Readable.from(all, { objectMode: false }),
    decompressor(detectCompression(head)),
    guard,
    parser,
  );
  piped.catch(() => {});
  try {
    for await (const entry of parser) {
      const name = entryName(entry.header.name);
      if (files.count >= mostFiles) throw archiveTooLarge('files', mostFiles);
      if (entry.header.type === 'file') {
        const hex = blobName.exec(name)?.[1];
        const data = withProgress(entry as unknown as AsyncIterable<Uint8Array>, (bytes) => onProgress(name, bytes));
        files.add(name, await ingest.write(data, hex === undefined ? undefined : formatDigest(hex)));
      } else if (entry.header.type === 'symlink' || entry.header.type === 'link') {
        const target = entry.header.linkname ?? '';
        files.link(name, entry.header.type === 'link' ? entryName(target) : posix.join(posix.dirname(name), target));
      }
      entry.resume();
    }
  } catch (error) {
    await piped.catch((cause: unknown) => {
      // The parser says `destroyed` where the stream before it knows why.
      if (cause instanceof FlotillaError || !(error instanceof FlotillaError)) throw cause;
    });
    throw error;
  }
  await piped;
  if (size < 512) throw archiveNotTar();
  return files;
}

function entryName(name: string): string {
  return posix.normalize(name).replace(/^(?:\.?\/)+/, '');
}

async function* withProgress(data: AsyncIterable<Uint8Array>, onBytes: (bytes: number) => void) {
  let bytes = 0;
  for await (const chunk of data) {
    bytes += chunk.length;
    onBytes(bytes);
    yield chunk;
  }
}

/** The first bytes, without losing them. */
async function peek(chunks: AsyncIterable<Uint8Array>): Promise<{ head: Buffer; all: AsyncIterable<Uint8Array> }> {
  const iterator = chunks[Symbol.asyncIterator]();
  const seen: Uint8Array[] = [];
  let length = 0;
  while (length < 4) {
    const { done, value } = await iterator.next();
    if (done === true) break;
    seen.push(value);
    length += value.length;
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    yield* seen;
    yield* { [Symbol.asyncIterator]: () => iterator };
  }
  return { head: Buffer.concat(seen), all: all() };
}
