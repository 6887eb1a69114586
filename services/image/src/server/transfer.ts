import type { TransferProgress } from '@flotilla/proto/flotilla/v1/image';
import type { Progress } from '../adapters/image-loader.ts';

/** Often enough to look alive, rarely enough to cost nothing. */
const intervalMs = 100;

/** Runs work that reports progress, as a stream: what is new of each part every so often, then what came of the work. */
export async function* streamTransfer<T>(
  work: (onProgress: Progress) => Promise<T>,
): AsyncGenerator<{ readonly progress: TransferProgress } | { readonly result: T }> {
  const fresh = new Map<string, TransferProgress>();
  const running = work((part, status, currentBytes, totalBytes) =>
    fresh.set(`${part} ${status}`, {
      part,
      status,
      currentBytes: BigInt(currentBytes),
      totalBytes: BigInt(totalBytes),
    }),
  );
  running.catch(() => {});
  for (let done = false; !done; ) {
    const { promise: tick, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(resolve, intervalMs, false);
    const over = running.then(
      () => true,
      () => true,
    );
    done = await Promise.race([tick, over]);
    clearTimeout(timer);
    const parts = [...fresh.values()];
    fresh.clear();
    for (const progress of parts) yield { progress };
  }
  yield { result: await running };
}
