import { createHash } from 'node:crypto';
import { invalidField } from '@flotilla/errors';

const sha256 = /^sha256:[0-9a-f]{64}$/;

/** Whether a text is a digest of the one algorithm that registries agree on (OCI image-spec, descriptor.md, Digests). */
export function isDigest(text: string): boolean {
  return sha256.test(text);
}

/** The 64 hexadecimal digits of a digest. INVALID_FIELD when it is none. */
export function parseDigest(text: string, field = 'digest'): string {
  if (!isDigest(text)) throw invalidField(field, '`sha256:` and 64 hexadecimal digits in lower case', text);
  return text.slice('sha256:'.length);
}

/** `sha256:…` for 64 hexadecimal digits. */
export function formatDigest(hex: string): string {
  return `sha256:${hex}`;
}

/** Digest of some bytes. */
export function sha256Digest(data: Uint8Array | string): string {
  return formatDigest(createHash('sha256').update(data).digest('hex'));
}
