import { accessSync, closeSync, constants, readSync } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { hasReason } from '@flotilla/errors';
import { isErrno, statAt } from '@flotilla/linux';
import { extract, type Header } from 'tar-stream';
import { decompressor, detectCompression } from '../unpack/decompress.ts';
import { FileWriter } from '../unpack/file-writer.ts';
import { type LayerEntry, readEntry } from '../unpack/layer-entry.ts';
import { TarAnnotator } from '../unpack/tar-annotator.ts';
import type { ContainerPath } from './container-path.ts';
import { notADirectory, readOnly, toCopyError } from './copy-error.ts';
import { type FoundPath, findPath } from './find-path.ts';
import { type ExtractorOptions, TreeExtractor } from './tree-extractor.ts';

const pieceBytes = 256 << 10;

/** A folder in a container that is to be written to. NOT_A_DIRECTORY, READ_ONLY, PATH_NOT_FOUND. */
export function checkDestination(root: number, path: ContainerPath, key: string): void {
  using found = findDestination(root, path, key);
  try {
    accessSync(`/proc/self/fd/${found.folder}`, constants.W_OK);
  } catch (error) {
    if (!isErrno(error, 'EROFS')) throw error;
    const isRoot = statAt(root, '').device.join() === found.status.device.join();
    throw readOnly(isRoot ? 'container rootfs' : 'mounted volume', path.text);
  }
}

/** A link as last part is followed here. */
function findDestination(root: number, path: ContainerPath, key: string): FoundPath {
  try {
    return findPath(root, { ...path, isFolder: true }, key);
  } catch (error) {
    if (!hasReason(error, 'NOT_A_DIRECTORY')) throw error;
    throw notADirectory('extraction point is not a directory', path.text);
  }
}

/** Unpacks the tar that comes from a pipe. Blocks while nothing comes: for a thread of its own. */
export async function writePath(input: number, options: ExtractorOptions): Promise<void> {
  using extractor = new TreeExtractor(options);
  const pieces = readPieces(input);
  const head = firstPiece(pieces);
  const source = Readable.from(concat(head, pieces), { objectMode: false, highWaterMark: pieceBytes });
  const annotator = new TarAnnotator({ highWaterMark: pieceBytes });
  const parser = extract();
  let applying: Promise<void> = Promise.resolve();
  parser.on('entry', (header, stream, next) => {
    // An entry that is refused ends with the parser, whose error is the one that counts.
    stream.on('error', () => {});
    applying = applyEntry(extractor, header, stream as unknown as AsyncIterable<Buffer>, annotator);
    applying.then(
      () => {
        stream.resume();
        next();
      },
      (error) => next(error),
    );
  });
  try {
    if (head.length === 0) return; // As Docker: nothing to unpack.
    await pipeline(source, decompressor(detectCompression(head)), annotator, parser);
    extractor.finish();
  } catch (error) {
    // What cannot be written closes the parser in the middle of the entry, and the parser knows no more than that.
    if ((error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE') await applying;
    throw error;
  }
}

async function applyEntry(
  extractor: TreeExtractor,
  header: Header,
  data: AsyncIterable<Buffer>,
  annotator: TarAnnotator,
): Promise<void> {
  const entry = readEntry(header, annotator.takeNotes());
  const fd = extractor.apply(entry);
  if (fd === undefined) return;
  try {
    await writeFile(fd, entry, data);
  } catch (error) {
    closeSync(fd);
    throw toCopyError(error, entry.name);
  }
  extractor.finishFile(fd, entry);
}

async function writeFile(fd: number, entry: LayerEntry, data: AsyncIterable<Buffer>): Promise<void> {
  const writer = new FileWriter(fd, entry);
  if (entry.sizeBytes > 0) for await (const chunk of data) writer.write(chunk);
  writer.end();
}

function* readPieces(fd: number): Generator<Buffer, void> {
  for (;;) {
    const piece = Buffer.allocUnsafe(pieceBytes);
    const size = readSync(fd, piece);
    if (size === 0) return;
    yield piece.subarray(0, size);
  }
}

/** Enough to tell a compression by. */
function firstPiece(pieces: Generator<Buffer, void>): Buffer {
  let head: Buffer = Buffer.alloc(0);
  while (head.length < 4) {
    const { value, done } = pieces.next();
    if (done === true) return head;
    head = Buffer.concat([head, value]);
  }
  return head;
}

function* concat(head: Buffer, rest: Generator<Buffer, void>): Generator<Buffer, void> {
  yield head;
  yield* rest;
}
