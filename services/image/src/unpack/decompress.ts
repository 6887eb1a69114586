import { PassThrough, type Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';

/** How a stream is compressed. */
export type Compression = 'none' | 'gzip' | 'zstd';

/** Tells by the first bytes (RFC 1952, RFC 8878). */
export function detectCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd) return 'zstd';
  return 'none';
}

const chunkSize = 256 << 10;

export function decompressor(compression: Compression): Transform {
  switch (compression) {
    case 'gzip':
      return createGunzip({ chunkSize });
    case 'zstd':
      return createZstdDecompress({ chunkSize });
    case 'none':
      return new PassThrough({ highWaterMark: chunkSize });
  }
}
