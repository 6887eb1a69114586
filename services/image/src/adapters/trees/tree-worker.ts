import { parentPort } from 'node:worker_threads';
import { copyTree } from './copy-tree.ts';
import { mergeLayer } from './merge-layer.ts';

/** Work on two open directories. */
export interface TreeOrder {
  readonly kind: 'copy' | 'merge';
  readonly from: number;
  readonly to: number;
  /** Becomes 1 when it is to stop. */
  readonly stop: Int32Array;
}

/** How it went; an error's own fields do not cross by themselves. */
export type TreeMessage =
  | { readonly kind: 'done' }
  | { readonly kind: 'failed'; readonly error: unknown; readonly fields: Readonly<Record<string, unknown>> };

const port = parentPort;
if (port === null) throw new Error('tree-worker.ts is a worker thread');

const works = { copy: copyTree, merge: mergeLayer };

port.on('message', ({ kind, from, to, stop }: TreeOrder) => {
  try {
    works[kind](from, to, () => {
      if (Atomics.load(stop, 0) !== 0) throw new Error('it was stopped');
    });
    port.postMessage({ kind: 'done' } satisfies TreeMessage);
  } catch (error) {
    const { code, errno, syscall, path } = error as NodeJS.ErrnoException;
    port.postMessage({ kind: 'failed', error, fields: { code, errno, syscall, path } } satisfies TreeMessage);
  }
});
