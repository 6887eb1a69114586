import { parentPort } from 'node:worker_threads';
import { FlotillaError } from '@flotilla/errors';

/** An error on its way out of a thread: its class and its own fields do not cross by themselves. */
export type CrossingError =
  | ({ readonly kind: 'refused' } & Pick<FlotillaError, 'code' | 'message' | 'reason' | 'metadata'>)
  | { readonly kind: 'failed'; readonly error: unknown; readonly fields: Readonly<Record<string, unknown>> };

/** What a thread says: notes, then how its job went. */
export type ThreadMessage<Result, Note> =
  | { readonly kind: 'note'; readonly note: Note }
  | { readonly kind: 'done'; readonly result: Result }
  | { readonly kind: 'failed'; readonly error: CrossingError };

/** A thread's program: does one job after the other, as its pool hands them over. */
export function serveJobs<Job, Result, Note = never>(
  work: (job: Job, tell: (note: Note) => void) => Result | Promise<Result>,
): void {
  const port = parentPort;
  if (port === null) throw new Error('a module of jobs is for a worker thread');
  const post = (message: ThreadMessage<Result, Note>) => port.postMessage(message);
  port.on('message', async (job: Job) => {
    try {
      post({ kind: 'done', result: await work(job, (note) => post({ kind: 'note', note })) });
    } catch (error) {
      post({ kind: 'failed', error: toCrossing(error) });
    }
  });
}

function toCrossing(error: unknown): CrossingError {
  if (error instanceof FlotillaError) {
    const { code, message, reason, metadata } = error;
    return { kind: 'refused', code, message, reason, metadata };
  }
  const { code, errno, syscall, path } = error as NodeJS.ErrnoException;
  return { kind: 'failed', error, fields: { code, errno, syscall, path } };
}
