import type { HealthCheck } from './health-check.ts';

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy';

/** What the checks of a run have come to. */
export interface Health {
  readonly status: HealthStatus;
  /** Checks that failed since the last that passed. */
  readonly failingStreak: number;
  /** The last five, oldest first. */
  readonly probes: readonly Probe[];
}

/** One check. */
export interface Probe {
  readonly startedAtUnixNano: bigint;
  readonly endedAtUnixNano: bigint;
  /** 0 is healthy; -1 when it could not be run or took too long. */
  readonly exitCode: number;
  readonly output: string;
}

/** Of a run that has just begun. */
export const startingHealth: Health = { status: 'starting', failingStreak: 0, probes: [] };

const rememberedProbes = 5;

/** What a check makes of it, by Docker's rules. */
export function afterProbe(health: Health, check: HealthCheck, probe: Probe, startedAtUnixNano: bigint): Health {
  const probes = [...health.probes, probe].slice(-rememberedProbes);
  if (probe.exitCode === 0) return { status: 'healthy', failingStreak: 0, probes };
  const sinceStartMs = Number(probe.startedAtUnixNano - startedAtUnixNano) / 1e6;
  if (health.status === 'starting' && sinceStartMs < check.startPeriodMs) return { ...health, probes };
  const failingStreak = health.failingStreak + 1;
  return { status: failingStreak >= check.retries ? 'unhealthy' : health.status, failingStreak, probes };
}

/** As Docker has it, a container that does not run is not healthy. */
export function afterRun(health: Health | undefined): Health | undefined {
  return health === undefined ? undefined : { ...health, status: 'unhealthy' };
}

/** The pause before the next check. */
export function pauseMs({ status }: Health, check: HealthCheck, sinceStartMs: number): number {
  return status === 'starting' && sinceStartMs < check.startPeriodMs ? check.startIntervalMs : check.intervalMs;
}
