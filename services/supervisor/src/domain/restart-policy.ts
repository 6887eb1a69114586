import { type ContainerRecord, noRestarts, type Restarts } from './container.ts';
import type { ContainerConfig, RestartPolicy } from './container-config.ts';
import { parseSignal } from './signals.ts';

// Docker's rules. A container that a user stopped stays down; any other exit is answered as the policy says, after a pause
// that doubles from 100 ms to a minute and starts anew once a run has lasted for ten seconds.

export const firstPauseMs = 100;
const longestPauseMs = 60_000;
const settledNanos = 10_000_000_000n;
const sigkill = 9;

/** As it is when a user stops a container. */
export function cancelled(restarts: Restarts): Restarts {
  return { ...restarts, cancelled: true, stoppedByUser: true, pending: undefined };
}

/** Has exited, and will be started again. */
export function waitsForRestart({ state, restarts }: Pick<ContainerRecord, 'state' | 'restarts'>): boolean {
  return state === 'exited' && restarts.pending !== undefined;
}

/** Not a user, but the policy has started the current run, or is about to start the next. */
export function startedByPolicy({ restarts }: ContainerRecord): boolean {
  return restarts.pauseMs > 0;
}

/** Whether a policy wants another run after one that ended in this way. */
export function wantsRestart(
  policy: RestartPolicy | undefined,
  { count, cancelled: given, stoppedByUser }: Restarts,
  exitCode: number,
): boolean {
  if (given) return false;
  return wants(policy, { count, stoppedByUser, exitCode });
}

/** Whether a policy wants a container started that does not run when the host has booted. */
export function wantsStartAtBoot({ config, restarts, exitCode, startedAtUnixNano }: ContainerRecord): boolean {
  if (startedAtUnixNano === 0n) return false; // never ran
  return wants(config.restartPolicy, { count: restarts.count, stoppedByUser: restarts.stoppedByUser, exitCode });
}

function wants(
  policy: RestartPolicy | undefined,
  { count, stoppedByUser, exitCode }: { count: number; stoppedByUser: boolean; exitCode: number },
): boolean {
  switch (policy?.name) {
    case 'always':
      return true;
    case 'unless-stopped':
      return !stoppedByUser;
    case 'on-failure':
      return exitCode !== 0 && (policy.maximumRetries === 0 || count < policy.maximumRetries);
    default:
      return false;
  }
}

export interface RunEnd {
  readonly exitCode: number;
  readonly exitedAtUnixNano: bigint;
}

/** What follows from the end of a run: a restart that a user asked for, one by the policy, or none. */
export function restartsAfterExit(record: ContainerRecord, end: RunEnd, now: bigint): Restarts {
  const { restarts, config, stop, startedAtUnixNano } = record;
  if (stop?.restart === true) return { ...noRestarts, pending: { dueAtUnixNano: now, byUser: true } };
  if (!wantsRestart(config.restartPolicy, restarts, end.exitCode)) return { ...restarts, pending: undefined };
  const settled = end.exitedAtUnixNano - startedAtUnixNano >= settledNanos;
  return { ...waitAgain(settled ? { ...restarts, pauseMs: 0 } : restarts, now), count: restarts.count + 1 };
}

/** The next pause, from now. */
export function waitAgain(restarts: Restarts, now: bigint): Restarts {
  const pauseMs = Math.min(restarts.pauseMs === 0 ? firstPauseMs : restarts.pauseMs * 2, longestPauseMs);
  return { ...restarts, pauseMs, pending: { dueAtUnixNano: now + BigInt(pauseMs) * 1_000_000n, byUser: false } };
}

/**
 * Whether a signal from a user is meant to end the container: SIGKILL and the stop signal, and any signal to one that has no
 * stop signal of its own (moby does so).
 */
export function isToEnd({ config, made }: ContainerRecord, signal: number): boolean {
  const stopSignal = ownStopSignal(config, made?.image.stopSignal ?? '');
  return signal === sigkill || stopSignal === undefined || stopSignal === signal;
}

/** What a signal from a user means for the policy. One that is not a stop keeps `unless-stopped` alone from starting it again. */
export function restartsAfterSignal(record: ContainerRecord, signal: number): Restarts {
  return isToEnd(record, signal) ? cancelled(record.restarts) : { ...record.restarts, stoppedByUser: true };
}

function ownStopSignal({ stopSignal }: ContainerConfig, ofImage: string): number | undefined {
  const text = stopSignal || ofImage;
  return text === '' ? undefined : parseSignal(text, 'stop_signal');
}
