import { setTimeout as sleep } from 'node:timers/promises';
import { closeWatched, type ProcessExit, pidfdExitInfo, SIGKILL, watchReadable } from '@flotilla/linux';

const pauseMs = 20;
/** Its parent reaps it within a moment; only then does the kernel tell anybody else. */
const patienceMs = 5_000;
/** Of a process that nobody could say the end of. */
export const unknownExit: ProcessExit = { exitCode: 255, signal: undefined };
/** Of an exec whose streams went with its shim: SIGKILL. */
export const killedExit: ProcessExit = { exitCode: 137, signal: SIGKILL };

export type KnownExit = Pick<ProcessExit, 'exitCode'> & Partial<ProcessExit>;

/**
 * Resolves once a process that is no child of this one has ended. The pidfd is closed then. `findRecord`: where else than
 * with the kernel it may be said how.
 */
export async function untilGone(
  pidfd: number,
  findRecord: () => KnownExit | undefined = () => undefined,
): Promise<KnownExit | undefined> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watch = watchReadable(pidfd, resolve);
  await promise;
  watch.pause();
  const exit = await untilKnown(() => pidfdExitInfo(pidfd) ?? findRecord());
  closeWatched(watch, pidfd);
  return exit;
}

/** Asks again and again for what somebody else is about to write down. */
export async function untilKnown<T>(find: () => T | undefined, waitMs = patienceMs): Promise<T | undefined> {
  for (const deadline = performance.now() + waitMs; ; ) {
    const found = find();
    if (found !== undefined || performance.now() > deadline) return found;
    await sleep(pauseMs);
  }
}
