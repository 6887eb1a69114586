import { FlotillaError } from '@flotilla/errors';
import { ThreadPool } from '../threads/thread-pool.ts';
import type { UnpackRequest, UnpackResult } from './unpack-stream.ts';

export interface UnpackOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((compressedBytes: number) => void) | undefined;
}

/** More than two that wait would be more than a small host has cores. */
const threads = new ThreadPool<UnpackRequest, UnpackResult, number>(new URL('./unpack-worker.ts', import.meta.url), 2);

/**
 * Unpacks a layer in a thread of its own, so that the service goes on answering. INVALID_ARGUMENT / ARCHIVE_TRUNCATED,
 * ARCHIVE_NOT_TAR, ARCHIVE_TOO_LARGE, LAYER_ENTRY_REFUSED; RESOURCE_EXHAUSTED / DISK_FULL.
 */
export async function unpackLayer(request: UnpackRequest, options: UnpackOptions = {}): Promise<UnpackResult> {
  const { signal, onProgress } = options;
  try {
    return await threads.run(request, { signal, onNote: onProgress });
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof FlotillaError ? refusal(error, request.layer) : error;
  }
}

function refusal(
  { code, message, reason, metadata }: Pick<FlotillaError, 'code' | 'message' | 'reason' | 'metadata'>,
  layer: string,
): FlotillaError {
  return new FlotillaError(code, `layer ${layer}: ${message}`, { reason, metadata: { ...metadata, layer } });
}
