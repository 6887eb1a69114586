export { applyChanges, type ChangedConfig } from './config-changes.ts';
export { formatDigest, isDigest, parseDigest, sha256Digest } from './digest.ts';
export { findDuration } from './duration.ts';
export { canonicalReference, familiarReference, parseReference, type Reference } from './reference.ts';
export type * from './runtime-spec.ts';
