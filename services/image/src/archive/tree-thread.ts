import { ThreadPool } from '../threads/thread-pool.ts';
import type { Change } from './list-changes.ts';
import type { TreeJob, TreeResult } from './tree-job.ts';
import type { TreeOrder } from './tree-worker.ts';

export interface TreeThreadOptions {
  readonly signal: AbortSignal;
  readonly onChanges?: (changes: readonly Change[]) => void;
}

const threads = new ThreadPool<TreeOrder, TreeResult, readonly Change[]>(
  new URL('./tree-worker.ts', import.meta.url),
  1,
);

/**
 * Does a job in a thread of its own, so that the service goes on answering. Ends only once the thread has let go of the
 * job's descriptors, also when the signal stops it.
 */
export async function inTreeThread(job: TreeJob, { signal, onChanges }: TreeThreadOptions): Promise<TreeResult> {
  signal.throwIfAborted();
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const onAbort = () => void Atomics.store(stop, 0, 1);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await threads.run({ job, stop }, { onNote: onChanges });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
