import { serveJobs } from '../threads/serve-jobs.ts';
import { toArchiveError } from '../unpack/layer-error.ts';
import type { Change } from './list-changes.ts';
import { runTreeJob, type TreeJob, type TreeResult } from './tree-job.ts';

/** What the thread is told: a job, and where it is said that it is to stop. */
export interface TreeOrder {
  readonly job: TreeJob;
  /** Not 0: stop. */
  readonly stop: Int32Array;
}

serveJobs<TreeOrder, TreeResult, readonly Change[]>(({ job, stop }, tell) => {
  const checkStop = () => {
    if (Atomics.load(stop, 0) !== 0) throw new Error('stopped');
  };
  try {
    return runTreeJob(job, { onChanges: tell, checkStop });
  } catch (error) {
    throw toArchiveError(error);
  }
});
