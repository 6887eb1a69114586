import type { ContainerConfig, Healthcheck, ImageConfig } from '../container-config.ts';

/** How a container is checked, all defaults filled in. */
export interface HealthCheck {
  /** Program and arguments. */
  readonly command: readonly string[];
  /** From the end of a check to the start of the next. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row that make it unhealthy. */
  readonly retries: number;
  /** So long after the start failures do not count until a check has passed. */
  readonly startPeriodMs: number;
  /** Instead of the interval while it is starting within the start period. */
  readonly startIntervalMs: number;
}

const defaults = { intervalMs: 30_000, timeoutMs: 30_000, startPeriodMs: 0, startIntervalMs: 5_000, retries: 3 };
/** A longer one would end at once: setTimeout takes 31 bits. */
const longestTimerMs = 2 ** 31 - 1;
const defaultShell = ['/bin/sh', '-c'];

/** What is asked for over what the image brings over Docker's defaults; undefined when nothing is to be checked. */
export function healthCheckOf({ healthcheck }: ContainerConfig, image: ImageConfig): HealthCheck | undefined {
  const own = image.healthcheck;
  const test = healthcheck !== undefined && healthcheck.test.length > 0 ? healthcheck.test : (own?.test ?? []);
  const command = commandOf(test, image.shell);
  if (command === undefined) return undefined;
  const pick = (field: NumericField): number => Number(healthcheck?.[field] || own?.[field] || 0);
  const milliseconds = (field: NumericField, otherwise: number): number => {
    const nanos = pick(field);
    return nanos > 0 ? Math.max(1, nanos / 1e6) : otherwise;
  };
  return {
    command,
    intervalMs: milliseconds('intervalNanos', defaults.intervalMs),
    timeoutMs: Math.min(milliseconds('timeoutNanos', defaults.timeoutMs), longestTimerMs),
    startPeriodMs: milliseconds('startPeriodNanos', defaults.startPeriodMs),
    startIntervalMs: milliseconds('startIntervalNanos', defaults.startIntervalMs),
    retries: pick('retries') || defaults.retries,
  };
}

type NumericField = Exclude<keyof Healthcheck, 'test'>;

function commandOf([kind, ...rest]: readonly string[], shell: readonly string[]): readonly string[] | undefined {
  if (rest.length === 0) return undefined;
  if (kind === 'CMD') return rest;
  return kind === 'CMD-SHELL' ? [...(shell.length > 0 ? shell : defaultShell), ...rest] : undefined;
}
