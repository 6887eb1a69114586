import { ThreadPool } from '../threads/thread-pool.ts';
import type { CopyJob } from './copy-worker.ts';
import type { PathStat } from './find-path.ts';

/** A thread at work. */
export interface CopyThread {
  /** What the path is: of a job that reads. */
  readonly stat: Promise<PathStat>;
  /** Settles only once the thread has let go of all that it had for the job. */
  readonly done: Promise<void>;
}

const threads = new ThreadPool<CopyJob, void, PathStat>(new URL('./copy-worker.ts', import.meta.url), 2);

/** Does a job in a thread of its own. It is stopped by closing the other end of its pipe. */
export function startCopyThread(job: CopyJob): CopyThread {
  const stat = Promise.withResolvers<PathStat>();
  const done = threads.run(job, { onNote: stat.resolve });
  done.then(() => stat.reject(new Error('a job that looks at nothing')), stat.reject);
  // Whoever waits for one of them need not wait for the other.
  for (const promise of [stat.promise, done]) promise.catch(() => {});
  return { stat: stat.promise, done };
}
