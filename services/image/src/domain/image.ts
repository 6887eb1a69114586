import type { ImageConfigDocument } from '@flotilla/oci/image';

/** An image as it is kept. */
export interface ImageRecord {
  /** Digest of the config. */
  readonly imageId: string;
  readonly manifestDigest: string;
  /** Blobs that it needs: manifest, config, layers. */
  readonly blobs: readonly string[];
  /** Digests of the uncompressed layers, lowest first. */
  readonly diffIds: readonly string[];
  /** Chain ids of the unpacked layers, lowest first. */
  readonly chainIds: readonly string[];
  readonly sizeBytes: number;
  readonly layerSizes: readonly number[];
  readonly config: ImageConfigDocument;
}

/** RFC 3339 to nanoseconds since the Unix epoch; 0 for what is no time. */
export function parseTime(text: string | null | undefined): bigint {
  const match = /^(.*?)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)$/.exec(text ?? '');
  if (match === null) return 0n;
  const milliseconds = Date.parse(`${match[1]}${match[3]}`);
  if (Number.isNaN(milliseconds)) return 0n;
  return BigInt(milliseconds) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'));
}

/** Nanoseconds since the Unix epoch to RFC 3339. */
export function formatTime(unixNano: bigint): string {
  const date = new Date(Number(unixNano / 1_000_000n)).toISOString();
  return `${date.slice(0, 19)}.${String(unixNano % 1_000_000_000n).padStart(9, '0')}Z`;
}
