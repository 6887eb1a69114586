import { closeSync, constants, openSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { asDiskFull } from '@flotilla/errors';
import type { TreeMessage, TreeOrder } from './tree-worker.ts';

/** A thread that waits for work. */
let idle: Worker | undefined;

/**
 * Copies a tree into an empty folder, or merges a layer into a root, in a thread of its own, so that the service goes on
 * answering. Ends only when the thread has let go of the two descriptors, also when the signal stops it. RESOURCE_EXHAUSTED /
 * DISK_FULL.
 */
export async function workOnTrees(kind: TreeOrder['kind'], from: number, to: number, signal?: AbortSignal) {
  signal?.throwIfAborted();
  const worker = idle ?? new Worker(new URL('./tree-worker.ts', import.meta.url), { trackUnmanagedFds: false });
  idle = undefined;
  worker.ref();
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const onAbort = () => void Atomics.store(stop, 0, 1);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onMessage = (message: TreeMessage) => {
    if (message.kind === 'done') resolve();
    else reject(message.error instanceof Error ? Object.assign(message.error, message.fields) : message.error);
  };
  const onExit = () => reject(new Error('the thread that copies trees ended'));
  worker.on('message', onMessage);
  worker.on('error', reject);
  worker.on('exit', onExit);
  signal?.addEventListener('abort', onAbort, { once: true });
  worker.postMessage({ kind, from, to, stop } satisfies TreeOrder);
  try {
    await promise;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw asDiskFull(error) ?? error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    worker.off('message', onMessage);
    worker.off('error', reject);
    worker.off('exit', onExit);
    worker.unref();
    if (worker.threadId !== -1 && idle === undefined) idle = worker;
    else await worker.terminate();
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
