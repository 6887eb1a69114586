import { createReadStream, statSync } from 'node:fs';
import process from 'node:process';
import { FlotillaError, invalidField } from '@flotilla/errors';

/** The contract's limit for one chunk. */
const chunkBytes = 1 << 20;

/** An archive that is sent in chunks. */
export interface Archive {
  readonly chunks: AsyncIterable<Buffer>;
  /** 0 when unknown. */
  readonly sizeBytes: number;
}

/** Opens a file, or standard input for `-` or undefined. A terminal is no archive. */
export function openArchive(path: string | undefined): Archive {
  if (path === undefined || path === '-') {
    if (process.stdin.isTTY === true) throw invalidField('archive', 'a file, or piped to standard input');
    return { chunks: gather(process.stdin), sizeBytes: 0 };
  }
  let size: number;
  try {
    const found = statSync(path);
    if (found.isDirectory()) throw invalidField('archive', 'a file', path);
    size = found.size;
  } catch (cause) {
    if (cause instanceof FlotillaError) throw cause;
    throw new FlotillaError('not_found', `archive ${path} cannot be read: ${(cause as Error).message}`, {
      reason: 'FILE_NOT_FOUND',
      metadata: { path },
      cause,
    });
  }
  return { chunks: createReadStream(path, { highWaterMark: chunkBytes }), sizeBytes: size };
}

/** A pipe gives pieces of 64 KiB; fewer and larger messages are cheaper. */
async function* gather(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  for await (const piece of pieces) {
    held.push(piece);
    size += piece.length;
    while (size >= chunkBytes) {
      const all = Buffer.concat(held);
      yield all.subarray(0, chunkBytes);
      held = [all.subarray(chunkBytes)];
      size = all.length - chunkBytes;
    }
  }
  if (size > 0) yield Buffer.concat(held);
}
