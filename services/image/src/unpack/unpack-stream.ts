import { createHash } from 'node:crypto';
import { closeSync, constants, createReadStream, openSync, readSync } from 'node:fs';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { formatDigest } from '@flotilla/oci';
import { extract, type Header } from 'tar-stream';
import { decompressor, detectCompression } from './decompress.ts';
import { FileWriter } from './file-writer.ts';
import { LayerApplier } from './layer-applier.ts';
import { readEntry } from './layer-entry.ts';
import { archiveNotTar, archiveTooLarge } from './layer-error.ts';
import type { UnpackLimits } from './limits.ts';
import { TarAnnotator } from './tar-annotator.ts';

/** What to unpack and where. */
export interface UnpackRequest {
  /** A tar, plain or compressed with gzip or zstd. */
  readonly blobPath: string;
  /** An empty folder that becomes the layer's root. The caller removes it after a failure. */
  readonly directory: string;
  /** Roots of the layers below, uppermost first: directories without an entry of their own look as they do there. */
  readonly below: readonly string[];
  /** For the metadata of errors. */
  readonly layer: string;
  readonly limits: UnpackLimits;
}

export interface UnpackResult {
  /** Digest of the whole uncompressed stream. */
  readonly diffId: string;
  /** Sum of the sizes of regular files, bytes. */
  readonly sizeBytes: number;
  readonly entries: number;
}

/** Unpacks a layer in this thread: decompress, hash and write in one pass, nothing held by its size. */
export async function unpackStream(
  { blobPath, directory, below, limits }: UnpackRequest,
  onProgress: (compressedBytes: number) => void,
): Promise<UnpackResult> {
  const rootFd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  const applier = new LayerApplier(rootFd, below);
  const hash = createHash('sha256');
  const source = createReadStream(blobPath, { highWaterMark: 256 << 10 });
  const guard = new SizeGuard(limits, hash, () => source.bytesRead);
  const annotator = new TarAnnotator({ highWaterMark: 256 << 10 });
  const parser = extract();
  const progress = setInterval(() => onProgress(source.bytesRead), 100);
  let [sizeBytes, entries] = [0, 0];
  let applying: Promise<void> = Promise.resolve();
  const apply = async (header: Header, data: AsyncIterable<Buffer>): Promise<void> => {
    const entry = readEntry(header, annotator.takeNotes());
    if (++entries > limits.maxEntries) throw archiveTooLarge('entries', limits.maxEntries);
    const fd = applier.apply(entry);
    if (fd === undefined) return;
    const writer = new FileWriter(fd, entry);
    try {
      if (entry.sizeBytes > 0) for await (const chunk of data) writer.write(chunk);
      writer.end();
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    sizeBytes += entry.sparse?.realSizeBytes ?? entry.sparseInData ?? entry.sizeBytes;
    applier.finishFile(fd, entry);
  };
  parser.on('entry', (header, stream, next) => {
    // An entry that is refused ends with the parser, whose error is the one that counts.
    stream.on('error', () => {});
    applying = apply(header, stream as unknown as AsyncIterable<Buffer>);
    applying.then(
      () => {
        stream.resume();
        next();
      },
      (error) => next(error),
    );
  });
  try {
    await pipeline(source, decompressor(detectCompression(firstBytes(blobPath))), guard, annotator, parser);
    if (guard.sizeBytes < 512) throw archiveNotTar();
    applier.finish();
  } catch (error) {
    // Content that cannot be written closes the parser in the middle of the entry, and the parser knows no more than that.
    if ((error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE') await applying;
    throw error;
  } finally {
    clearInterval(progress);
    applier.close();
    closeSync(rootFd);
  }
  return { diffId: formatDigest(hash.digest('hex')), sizeBytes, entries };
}

function firstBytes(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const head = Buffer.alloc(4);
    return head.subarray(0, readSync(fd, head));
  } finally {
    closeSync(fd);
  }
}

/** Hashes what was decompressed and stops a bomb. */
class SizeGuard extends Transform {
  sizeBytes = 0;
  readonly #limits: UnpackLimits;
  readonly #hash: ReturnType<typeof createHash>;
  readonly #compressedBytes: () => number;

  constructor(limits: UnpackLimits, hash: ReturnType<typeof createHash>, compressedBytes: () => number) {
    super({ highWaterMark: 256 << 10 });
    this.#limits = limits;
    this.#hash = hash;
    this.#compressedBytes = compressedBytes;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error: Error | null, data?: Buffer) => void) {
    this.sizeBytes += chunk.length;
    const { maxBytes, maxRatio, ratioFreeBytes } = this.#limits;
    if (this.sizeBytes > maxBytes) return done(archiveTooLarge('unpacked bytes', maxBytes));
    if (this.sizeBytes > ratioFreeBytes && this.sizeBytes > this.#compressedBytes() * maxRatio) {
      return done(archiveTooLarge('unpacked bytes for each compressed one', maxRatio));
    }
    this.#hash.update(chunk);
    done(null, chunk);
  }
}
