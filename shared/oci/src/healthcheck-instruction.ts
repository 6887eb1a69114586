import { invalidField } from '@flotilla/errors';
import { findDuration } from './duration.ts';

/** A health check: flotilla.v1.ImageHealthcheck. */
export interface ChangedHealthcheck {
  test: string[];
  intervalNanos: bigint;
  timeoutNanos: bigint;
  startPeriodNanos: bigint;
  startIntervalNanos: bigint;
  retries: number;
}

const times = {
  interval: 'intervalNanos',
  timeout: 'timeoutNanos',
  'start-period': 'startPeriodNanos',
  'start-interval': 'startIntervalNanos',
} as const;

/**
 * Reads what follows HEALTHCHECK in a Dockerfile: `NONE`, or `[--interval=30s …] CMD command`; `list` reads a command in its
 * JSON form. INVALID_FIELD.
 */
export function readHealthcheck(
  rest: string,
  field: string,
  list: (command: string) => string[] | undefined,
): ChangedHealthcheck {
  const refuse = (expected: string, got: string) => invalidField(`${field} HEALTHCHECK`, expected, got);
  const check: ChangedHealthcheck = {
    test: ['NONE'],
    ...{ intervalNanos: 0n, timeoutNanos: 0n, startPeriodNanos: 0n, startIntervalNanos: 0n, retries: 0 },
  };
  let left = rest;
  for (let match = nextOption(left); match !== null; match = nextOption(left)) {
    const [whole, name = '', value = ''] = match;
    if (name === 'retries') {
      check.retries = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
      if (Number.isNaN(check.retries)) throw refuse('--retries= with a whole number', value);
    } else if (Object.hasOwn(times, name)) {
      const nanos = findDuration(value);
      if (nanos === undefined) throw refuse(`--${name}= with a duration such as 30s, 1m30s or 500ms`, value);
      check[times[name as keyof typeof times]] = nanos;
    } else break;
    left = left.slice(whole.length);
  }
  const [, kind = '', command = ''] = /^(NONE|CMD)\b\s*(.*)$/is.exec(left) ?? [];
  const isCommand = kind.toUpperCase() === 'CMD';
  if (kind === '' || isCommand !== (command !== '')) {
    throw refuse('NONE, or [--interval=… --timeout=… --retries=… …] CMD command', rest);
  }
  if (!isCommand) return check;
  const args = list(command);
  return { ...check, test: args === undefined ? ['CMD-SHELL', command] : ['CMD', ...args] };
}

function nextOption(text: string): RegExpExecArray | null {
  return /^--([a-z-]+)=(\S+)\s+/.exec(text);
}
