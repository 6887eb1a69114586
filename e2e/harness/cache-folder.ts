import { fileURLToPath } from 'node:url';

/** Where tests keep what is slow to build: git-ignored; deleting it costs time and nothing else. */
export const cacheFolder: string = fileURLToPath(new URL('../../.cache', import.meta.url));
