import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const clockGettime = libc.func('int clock_gettime(int clock, void *timespec)');
const timespec = new BigInt64Array(2);

const CLOCK_REALTIME = 0;
const CLOCK_MONOTONIC = 1;

/** Nanoseconds since the Unix epoch, at the resolution of clock_gettime(2), which Date does not have. */
export function nowUnixNano(): bigint {
  return readClock(CLOCK_REALTIME);
}

/** Nanoseconds of a clock that nobody sets; the same in every process of this boot. */
export function monotonicNano(): bigint {
  return readClock(CLOCK_MONOTONIC);
}

function readClock(clock: number): bigint {
  check(clockGettime(clock, timespec), 'clock_gettime');
  return timespec[0]! * 1_000_000_000n + timespec[1]!;
}
