import { Worker } from 'node:worker_threads';
import { FlotillaError } from '@flotilla/errors';
import type { Change } from './list-changes.ts';
import type { TreeJob, TreeResult } from './tree-job.ts';
import type { TreeMessage, TreeOrder } from './tree-worker.ts';

export interface TreeThreadOptions {
  readonly signal: AbortSignal;
  readonly onChanges?: (changes: readonly Change[]) => void;
}

/** Threads that wait for work. */
const idle: Worker[] = [];
const keptIdle = 1;

/**
 * Does a job in a thread of its own, so that the service goes on answering. Ends only once the thread has let go of the
 * job's descriptors, also when the signal stops it.
 */
export async function inTreeThread(job: TreeJob, { signal, onChanges }: TreeThreadOptions): Promise<TreeResult> {
  signal.throwIfAborted();
  const worker = idle.pop() ?? new Worker(new URL('./tree-worker.ts', import.meta.url), { trackUnmanagedFds: false });
  worker.ref();
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const onAbort = () => void Atomics.store(stop, 0, 1);
  signal.addEventListener('abort', onAbort, { once: true });
  const { promise, resolve, reject } = Promise.withResolvers<TreeResult>();
  const onMessage = (message: TreeMessage) => {
    if (message.kind === 'changes') onChanges?.(message.changes);
    else if (message.kind === 'done') resolve(message.result);
    else reject(failureOf(message));
  };
  const onExit = () => reject(new Error('the thread that reads files ended'));
  worker.on('message', onMessage);
  worker.on('error', reject);
  worker.on('exit', onExit);
  worker.postMessage({ job, stop } satisfies TreeOrder);
  try {
    return await promise;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    worker.off('message', onMessage);
    worker.off('error', reject);
    worker.off('exit', onExit);
    worker.unref();
    if (worker.threadId !== -1 && idle.length < keptIdle) idle.push(worker);
    else void worker.terminate();
  }
}

function failureOf(message: TreeMessage & { readonly kind: 'refused' | 'failed' }): unknown {
  if (message.kind === 'refused') {
    const { code, message: text, reason, metadata } = message.error;
    return new FlotillaError(code, text, { reason, metadata });
  }
  const { error, code } = message;
  return error instanceof Error && code !== '' ? Object.assign(error, { code }) : error;
}
