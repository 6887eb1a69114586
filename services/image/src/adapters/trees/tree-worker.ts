import { serveJobs } from '../../threads/serve-jobs.ts';
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

const works = { copy: copyTree, merge: mergeLayer };

serveJobs<TreeOrder, void>(({ kind, from, to, stop }) => {
  works[kind](from, to, () => {
    if (Atomics.load(stop, 0) !== 0) throw new Error('it was stopped');
  });
});
