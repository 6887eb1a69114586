import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno, writeFd } from '@flotilla/linux';

const firstPauseMs = 2;
const longestPauseMs = 100;

/**
 * Writes to a terminal's master, a non-blocking descriptor, at the pace of the programs that read. libuv would do it, but
 * takes a master for a stream that blocks and spins while a terminal's 4 KiB are full: hence the pauses here, which only
 * a paste at a program that does not read will see. Answers how many bytes were taken: fewer only when it was stopped; all when
 * the terminal has gone.
 */
export async function typeInto(
  fd: number,
  data: Uint8Array,
  { isGone, isStopped }: { readonly isGone: () => boolean; readonly isStopped: () => boolean },
): Promise<number> {
  let rest = data;
  for (let pauseMs = firstPauseMs; rest.length > 0 && !isGone(); ) {
    if (isStopped()) return data.length - rest.length;
    const taken = write(fd, rest);
    if (taken > 0) {
      rest = rest.subarray(taken);
      pauseMs = firstPauseMs;
    } else {
      await sleep(pauseMs);
      pauseMs = Math.min(2 * pauseMs, longestPauseMs);
    }
  }
  return data.length;
}

function write(fd: number, data: Uint8Array): number {
  try {
    return writeFd(fd, data) ?? 0;
  } catch (error) {
    if (isErrno(error, 'EIO')) return data.length; // nobody has it open: as if it were read
    throw error;
  }
}
