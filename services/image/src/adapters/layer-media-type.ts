import { closeSync, openSync, readSync } from 'node:fs';
import { mediaTypes } from '@flotilla/oci/image';
import { detectCompression } from '../unpack/decompress.ts';

/** Media type of a layer's file, by its first bytes. */
export function layerMediaType(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const head = Buffer.alloc(4);
    const compression = detectCompression(head.subarray(0, readSync(fd, head)));
    return { none: mediaTypes.ociLayer, gzip: mediaTypes.ociLayerGzip, zstd: mediaTypes.ociLayerZstd }[compression];
  } finally {
    closeSync(fd);
  }
}
