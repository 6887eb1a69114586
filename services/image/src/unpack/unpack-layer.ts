import { Worker } from 'node:worker_threads';
import { FlotillaError } from '@flotilla/errors';
import type { UnpackRequest, UnpackResult } from './unpack-stream.ts';
import type { UnpackMessage } from './unpack-worker.ts';

export interface UnpackOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((compressedBytes: number) => void) | undefined;
}

/** Threads that wait for work; more than two would be more than a small host has cores. */
const idle: Worker[] = [];
const keptIdle = 2;

/**
 * Unpacks a layer in a thread of its own, so that the service goes on answering. INVALID_ARGUMENT / ARCHIVE_TRUNCATED,
 * ARCHIVE_NOT_TAR, ARCHIVE_TOO_LARGE, LAYER_ENTRY_REFUSED; RESOURCE_EXHAUSTED / DISK_FULL.
 */
export async function unpackLayer(request: UnpackRequest, options: UnpackOptions = {}): Promise<UnpackResult> {
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  const worker = idle.pop() ?? new Worker(new URL('./unpack-worker.ts', import.meta.url), { trackUnmanagedFds: false });
  worker.ref();
  const { promise, resolve, reject } = Promise.withResolvers<UnpackResult>();
  const onMessage = (message: UnpackMessage) => {
    if (message.kind === 'progress') onProgress?.(message.compressedBytes);
    else if (message.kind === 'done') resolve(message.result);
    else if (message.kind === 'refused') reject(refusal(message.error, request.layer));
    else reject(message.error);
  };
  const onAbort = () => reject(signal?.reason);
  const onExit = () => reject(new Error('the unpacking thread ended'));
  worker.on('message', onMessage);
  worker.on('error', reject);
  worker.on('exit', onExit);
  signal?.addEventListener('abort', onAbort, { once: true });
  // Ours one by one: removeAllListeners() takes Node's own too, and a thread that is used again would never be heard.
  const stopListening = () => {
    worker.off('message', onMessage);
    worker.off('error', reject);
    worker.off('exit', onExit);
  };
  worker.postMessage(request);
  try {
    const result = await promise;
    stopListening();
    if (idle.length < keptIdle) idle.push(worker);
    else await worker.terminate();
    worker.unref();
    return result;
  } catch (error) {
    // It may be in the middle of something: what it holds goes with it.
    stopListening();
    await worker.terminate();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

function refusal(
  { code, message, reason, metadata }: Pick<FlotillaError, 'code' | 'message' | 'reason' | 'metadata'>,
  layer: string,
): FlotillaError {
  return new FlotillaError(code, `layer ${layer}: ${message}`, { reason, metadata: { ...metadata, layer } });
}
