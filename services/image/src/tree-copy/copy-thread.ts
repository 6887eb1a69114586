import { Worker } from 'node:worker_threads';
import { FlotillaError } from '@flotilla/errors';
import type { CopyJob, CopyMessage } from './copy-worker.ts';
import type { PathStat } from './find-path.ts';

/** A thread at work. */
export interface CopyThread {
  /** What the path is: of a job that reads. */
  readonly stat: Promise<PathStat>;
  /** Settles only once the thread has let go of all that it had for the job. */
  readonly done: Promise<void>;
}

/** Threads that wait for work: one takes longer to start than most jobs do. */
const idle: Worker[] = [];
const keptIdle = 2;

/** Does a job in a thread of its own. It is stopped by closing the other end of its pipe. */
export function startCopyThread(job: CopyJob): CopyThread {
  const stat = Promise.withResolvers<PathStat>();
  const done = runJob(job, stat.resolve);
  done.then(() => stat.reject(new Error('a job that looks at nothing')), stat.reject);
  // Whoever waits for one of them need not wait for the other.
  for (const promise of [stat.promise, done]) promise.catch(() => {});
  return { stat: stat.promise, done };
}

async function runJob(job: CopyJob, onStat: (stat: PathStat) => void): Promise<void> {
  const worker = idle.pop() ?? new Worker(new URL('./copy-worker.ts', import.meta.url), { trackUnmanagedFds: false });
  worker.ref();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onMessage = (message: CopyMessage) => {
    if (message.kind === 'stat') onStat(message.stat);
    else if (message.kind === 'done') resolve();
    else reject(failureOf(message));
  };
  const onExit = () => reject(new Error('the thread that copies files ended'));
  worker.on('message', onMessage);
  worker.on('error', reject);
  worker.on('exit', onExit);
  worker.postMessage(job);
  try {
    await promise;
  } finally {
    worker.off('message', onMessage);
    worker.off('error', reject);
    worker.off('exit', onExit);
    worker.unref();
    if (worker.threadId !== -1 && idle.length < keptIdle) idle.push(worker);
    else void worker.terminate();
  }
}

function failureOf(message: CopyMessage & { readonly kind: 'refused' | 'failed' }): unknown {
  if (message.kind === 'refused') {
    const { code, message: text, reason, metadata } = message.error;
    return new FlotillaError(code, text, { reason, metadata });
  }
  const { error, code } = message;
  return error instanceof Error && code !== '' ? Object.assign(error, { code }) : error;
}
