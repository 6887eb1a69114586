import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { formatDigest } from '@flotilla/oci';
import { decompressor, detectCompression } from '../unpack/decompress.ts';
import { archiveTooLarge } from '../unpack/layer-error.ts';

/** Digest of a file once decompressed. */
export async function uncompressedDigest(path: string, maxBytes: number): Promise<string> {
  const hash = createHash('sha256');
  let size = 0;
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      hash.update(chunk);
      done(size > maxBytes ? archiveTooLarge('bytes', maxBytes) : null);
    },
  });
  await using file = await open(path);
  const head = Buffer.alloc(4);
  const { bytesRead } = await file.read(head, 0, 4, 0);
  await pipeline(createReadStream(path), decompressor(detectCompression(head.subarray(0, bytesRead))), sink);
  return formatDigest(hash.digest('hex'));
}
