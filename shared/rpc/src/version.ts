import { createRequire } from 'node:module';

const manifest = createRequire(import.meta.url)('../package.json') as { version: string };

/** Release of the engine: its packages share one version. */
export const engineVersion: string = manifest.version;

/** Raised when a release may no longer talk to the one before the last. */
export const protocolVersion = 1;
