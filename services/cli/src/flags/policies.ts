import { invalidField } from '@flotilla/errors';
import type { RestartPolicy } from '@flotilla/proto/flotilla/v1/container';
import type { ImageHealthcheck } from '@flotilla/proto/flotilla/v1/image';
import { parseDuration } from './duration.ts';
import { parseInteger } from './number.ts';

/** Reads `--restart`: `no`, `always`, `unless-stopped`, `on-failure[:max]`; empty is `no`, as in a script's `--restart "$X"`. */
export function parseRestartPolicy(text: string): RestartPolicy {
  if (text === '') return { name: 'no', maximumRetries: 0 };
  const [name = '', retries, ...rest] = text.split(':');
  if (rest.length > 0 || !['no', 'always', 'unless-stopped', 'on-failure'].includes(name)) {
    throw invalidField('--restart', 'no, always, unless-stopped or on-failure[:max-retries]', text);
  }
  if (retries === undefined || (name === 'on-failure' && retries === '')) return { name, maximumRetries: 0 };
  if (name !== 'on-failure') throw invalidField('--restart', `${name} without a number of retries`, text);
  return { name, maximumRetries: parseInteger('--restart', retries, 0, 0xffff_ffff) };
}

/** The `--health-…` flags. */
export interface HealthFlags {
  readonly healthCmd?: string;
  readonly healthInterval?: string;
  readonly healthTimeout?: string;
  readonly healthStartPeriod?: string;
  readonly healthStartInterval?: string;
  readonly healthRetries?: string;
  /** `--no-healthcheck` makes it false. */
  readonly healthcheck?: boolean;
}

/** The health check that the flags ask for, or undefined when there are none. */
export function parseHealthcheck(flags: HealthFlags): ImageHealthcheck | undefined {
  const { healthcheck, healthCmd, healthRetries, ...times } = flags;
  const { healthInterval, healthTimeout, healthStartPeriod, healthStartInterval } = times;
  const given = [healthCmd, healthInterval, healthTimeout, healthStartPeriod, healthStartInterval, healthRetries].some(
    (value) => value !== undefined,
  );
  if (healthcheck === false && given) throw invalidField('--no-healthcheck', 'given without other --health flags');
  if (healthcheck !== false && !given) return undefined;
  const nanos = (name: string, text: string | undefined) => (text === undefined ? 0n : parseDuration(name, text));
  return {
    test: healthcheck === false ? ['NONE'] : healthCmd === undefined ? [] : ['CMD-SHELL', healthCmd],
    intervalNanos: nanos('--health-interval', healthInterval),
    timeoutNanos: nanos('--health-timeout', healthTimeout),
    startPeriodNanos: nanos('--health-start-period', healthStartPeriod),
    startIntervalNanos: nanos('--health-start-interval', healthStartInterval),
    retries: healthRetries === undefined ? 0 : parseInteger('--health-retries', healthRetries, 0, 0xffff_ffff),
  };
}
