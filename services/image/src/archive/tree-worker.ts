import { parentPort } from 'node:worker_threads';
import { FlotillaError } from '@flotilla/errors';
import { toArchiveError } from '../unpack/layer-error.ts';
import type { Change } from './list-changes.ts';
import { runTreeJob, type TreeJob, type TreeResult } from './tree-job.ts';

/** What the thread is told: a job, and where it is said that it is to stop. */
export interface TreeOrder {
  readonly job: TreeJob;
  /** Not 0: stop. */
  readonly stop: Int32Array;
}

/** What the thread says. Errors cross as plain objects. */
export type TreeMessage =
  | { readonly kind: 'changes'; readonly changes: readonly Change[] }
  | { readonly kind: 'done'; readonly result: TreeResult }
  | { readonly kind: 'refused'; readonly error: Pick<FlotillaError, 'code' | 'message' | 'reason' | 'metadata'> }
  | { readonly kind: 'failed'; readonly error: unknown; readonly code: string };

const port = parentPort;
if (port === null) throw new Error('tree-worker.ts is a worker thread');
const post = (message: TreeMessage) => port.postMessage(message);

port.on('message', ({ job, stop }: TreeOrder) => {
  try {
    const result = runTreeJob(job, {
      onChanges: (changes) => post({ kind: 'changes', changes }),
      checkStop: () => {
        if (Atomics.load(stop, 0) !== 0) throw new Error('stopped');
      },
    });
    post({ kind: 'done', result });
  } catch (thrown) {
    const error = toArchiveError(thrown);
    if (error instanceof FlotillaError) {
      const { code, message, reason, metadata } = error;
      post({ kind: 'refused', error: { code, message, reason, metadata } });
    } else post({ kind: 'failed', error, code: (error as NodeJS.ErrnoException).code ?? '' });
  }
});
