import { setTimeout as sleep } from 'node:timers/promises';
import { duplicateFd, hasExecuted, POLLIN, poll } from '@flotilla/linux';
import { hasRun, type Ledger } from '../output/ledger.ts';
import type { Init } from '../task/init.ts';
import { untilGone } from './adopted-exit.ts';
import { findReaped } from './reaped-exit.ts';

const pauseMs = 2;
/** How long an init may take from its release to its program. */
const patienceMs = 10_000;

/**
 * Whether the program of an init runs, or has run, whose shim was killed: perhaps in the middle of releasing it, when init
 * either comes to its program by itself or ends for want of its shim.
 */
export async function hasStarted({ pid, pidfd, startTime }: Init, shimDir: string, ledger: Ledger): Promise<boolean> {
  if (ledger.startedAtUnixNano === 0n) return false;
  if (!ledger.isReleaseUnderWay || pidfd === undefined) return true;
  for (const deadline = performance.now() + patienceMs; performance.now() < deadline; ) {
    const executed = hasExecuted(pid);
    // What was looked at was init, if that lives yet.
    if (isDead(pidfd)) {
      const exit = await untilGone(duplicateFd(pidfd), () => findReaped(pid, startTime));
      return exit === undefined || hasRun(shimDir, exit.exitCode);
    }
    if (executed) {
      ledger.recordReleased();
      return true;
    }
    await sleep(pauseMs);
  }
  return false;
}

function isDead(pidfd: number): boolean {
  return poll([{ fd: pidfd, events: POLLIN }], 0)[0] !== 0;
}
