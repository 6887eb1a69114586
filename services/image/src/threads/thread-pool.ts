import { Worker } from 'node:worker_threads';
import { FlotillaError } from '@flotilla/errors';
import type { CrossingError, ThreadMessage } from './serve-jobs.ts';

export interface JobOptions<Note> {
  /** Ends the thread where it is: only for jobs that hold nothing of their caller's. */
  readonly signal?: AbortSignal | undefined;
  /** Hears what the thread tells before its end. */
  readonly onNote?: ((note: Note) => void) | undefined;
}

/** Threads that do jobs which would keep the service from answering. One that has failed at a job does no other. */
export class ThreadPool<Job, Result = void, Note = never> {
  readonly #module: URL;
  readonly #keptIdle: number;
  readonly #idle: Worker[] = [];

  /** `module` calls `serveJobs`. So many threads wait for the next job: one takes longer to start than most jobs do. */
  constructor(module: URL, keptIdle: number) {
    this.#module = module;
    this.#keptIdle = keptIdle;
  }

  /** Settles only once the thread has let go of all that it had for the job. */
  async run(job: Job, { signal, onNote }: JobOptions<Note> = {}): Promise<Result> {
    signal?.throwIfAborted();
    const worker = this.#idle.pop() ?? new Worker(this.#module, { trackUnmanagedFds: false });
    worker.ref();
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const onMessage = (message: ThreadMessage<Result, Note>) => {
      if (message.kind === 'note') onNote?.(message.note);
      else if (message.kind === 'done') resolve(message.result);
      else reject(fromCrossing(message.error));
    };
    const onAbort = () => reject(signal?.reason);
    const onExit = () => reject(new Error('the thread ended in the middle of its job'));
    worker.on('message', onMessage);
    worker.on('error', reject);
    worker.on('exit', onExit);
    signal?.addEventListener('abort', onAbort, { once: true });
    let failed = true;
    try {
      worker.postMessage(job);
      const result = await promise;
      failed = false;
      return result;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      // Ours one by one: removeAllListeners() takes Node's own too, and a thread that is used again would never be heard.
      worker.off('message', onMessage);
      worker.off('error', reject);
      worker.off('exit', onExit);
      if (failed || this.#idle.length >= this.#keptIdle) await worker.terminate();
      else this.#idle.push(worker);
      worker.unref();
    }
  }
}

function fromCrossing(crossing: CrossingError): unknown {
  if (crossing.kind === 'refused') {
    const { code, message, reason, metadata } = crossing;
    return new FlotillaError(code, message, { reason, metadata });
  }
  return crossing.error instanceof Error ? Object.assign(crossing.error, crossing.fields) : crossing.error;
}
