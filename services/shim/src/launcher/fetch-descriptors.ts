import { closeFd, isErrno, pidfdGetFd } from '@flotilla/linux';
import { identityOf, type ShimFile } from '../shim/shim-file.ts';
import type { WatchedProcess } from './watched-process.ts';

/**
 * Copies, from a shim that lives, what a launcher should have of its descriptors and has not: the one before was killed before
 * it had left them with a service manager, or there is none. Answers the names of those that were added.
 */
export function fetchDescriptors(
  { pidfd }: WatchedProcess,
  { descriptors = {} }: ShimFile,
  kept: Map<string, number>,
): readonly string[] {
  const fetched: string[] = [];
  for (const [name, { fd, identity }] of Object.entries(descriptors)) {
    const copy = kept.has(name) ? undefined : fetch(pidfd, fd, identity);
    if (copy === undefined) continue;
    kept.set(name, copy);
    fetched.push(name);
  }
  return fetched;
}

/** Nothing when the shim has closed it: input that is over. */
function fetch(pidfd: number, fd: number, identity: string): number | undefined {
  try {
    const copy = pidfdGetFd(pidfd, fd);
    if (identityOf(copy) === identity) return copy;
    closeFd(copy);
    return undefined;
  } catch (error) {
    if (isErrno(error, 'EBADF', 'ESRCH')) return undefined;
    throw error;
  }
}
