import { constants, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '@flotilla/linux';

/**
 * Opens the reading ends of a container's output anew by their names, where nobody has kept them: the service manager has no
 * store, or it is full. As long as the container has its ends open, nothing is lost. Its input cannot be had back so: it
 * may have been closed on purpose.
 */
export function reopenOutput(shimDir: string, kept: Map<string, number>): void {
  for (const name of ['stdout', 'stderr']) {
    const path = join(shimDir, name);
    if (kept.has(name) || !isFifo(path)) continue;
    kept.set(name, openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
  }
}

function isFifo(path: string): boolean {
  try {
    return statSync(path).isFIFO();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false; // A terminal.
    throw error;
  }
}
