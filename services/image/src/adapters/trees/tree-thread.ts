import { closeSync, constants, openSync } from 'node:fs';
import { asDiskFull } from '@flotilla/errors';
import { ThreadPool } from '../../threads/thread-pool.ts';
import type { TreeOrder } from './tree-worker.ts';

const threads = new ThreadPool<TreeOrder>(new URL('./tree-worker.ts', import.meta.url), 1);

/**
 * Copies a tree into an empty folder, or merges a layer into a root, in a thread of its own, so that the service goes on
 * answering. Ends only when the thread has let go of the two descriptors, also when the signal stops it. RESOURCE_EXHAUSTED /
 * DISK_FULL.
 */
export async function workOnTrees(kind: TreeOrder['kind'], from: number, to: number, signal?: AbortSignal) {
  signal?.throwIfAborted();
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const onAbort = () => void Atomics.store(stop, 0, 1);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await threads.run({ kind, from, to, stop });
  } catch (error) {
    signal?.throwIfAborted();
    throw asDiskFull(error) ?? error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/** The same on two folders of the service's own. */
export async function workOnFolders(
  kind: TreeOrder['kind'],
  from: string,
  to: string,
  signal?: AbortSignal,
): Promise<void> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const fromFd = openSync(from, flags);
  try {
    const toFd = openSync(to, flags);
    try {
      await workOnTrees(kind, fromFd, toFd, signal);
    } finally {
      closeSync(toFd);
    }
  } finally {
    closeSync(fromFd);
  }
}
