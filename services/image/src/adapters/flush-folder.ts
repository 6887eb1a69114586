import { closeSync, constants, fsyncSync, openSync } from 'node:fs';

/** Makes what was renamed, made or removed in a folder survive power loss: fsync(2). */
export function flushFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
