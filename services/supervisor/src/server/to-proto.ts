import {
  type Container,
  type ContainerState,
  ContainerStatus,
  type Health as HealthMessage,
  type HealthStatus,
} from '@flotilla/proto/flotilla/v1/container';
import { Exec } from '@flotilla/proto/flotilla/v1/exec';
import type { ContainerRecord } from '../domain/container.ts';
import type { StateName } from '../domain/container-state.ts';
import type { ExecRecord } from '../domain/exec.ts';
import type { Health } from '../domain/health/health.ts';
import { waitsForRestart } from '../domain/restart-policy.ts';

const states: Readonly<Record<StateName, ContainerState>> = {
  creating: 'CONTAINER_STATE_CREATING',
  created: 'CONTAINER_STATE_CREATED',
  starting: 'CONTAINER_STATE_STARTING',
  running: 'CONTAINER_STATE_RUNNING',
  pausing: 'CONTAINER_STATE_PAUSING',
  paused: 'CONTAINER_STATE_PAUSED',
  stopping: 'CONTAINER_STATE_STOPPING',
  exited: 'CONTAINER_STATE_EXITED',
  removing: 'CONTAINER_STATE_REMOVING',
  dead: 'CONTAINER_STATE_DEAD',
};

const healthStatuses = {
  starting: 'HEALTH_STATUS_STARTING',
  healthy: 'HEALTH_STATUS_HEALTHY',
  unhealthy: 'HEALTH_STATUS_UNHEALTHY',
} as const;

const known = new WeakMap<ContainerRecord, Container>();

export function stateToProto(state: StateName): ContainerState {
  return states[state];
}

/** A record is a value, so its message is made once. */
export function containerToProto(record: ContainerRecord, logPath: string): Container {
  let message = known.get(record);
  if (message === undefined) {
    message = buildContainer(record, logPath);
    known.set(record, message);
  }
  return message;
}

function buildContainer(record: ContainerRecord, logPath: string): Container {
  const { made, config } = record;
  return {
    containerId: record.containerId,
    name: record.name,
    config,
    imageId: made?.imageId ?? '',
    status: statusToProto(record),
    createdAtUnixNano: record.createdAtUnixNano,
    endpoints: [...record.endpoints],
    ports: [...record.ports],
    args: [...(made?.args ?? [])],
    logPath,
    mounts: (made?.mounts ?? []).map(({ hostPath: _, ...mount }) => mount),
    sandboxId: record.sandboxId,
  };
}

function statusToProto(record: ContainerRecord): ContainerStatus {
  return ContainerStatus.create({
    state: states[record.state],
    initPid: record.task?.initPid ?? 0,
    shimPid: record.task?.shimPid ?? 0,
    exitCode: record.exitCode,
    oomKilled: record.oomKilled,
    error: record.error,
    startedAtUnixNano: record.startedAtUnixNano,
    finishedAtUnixNano: record.finishedAtUnixNano,
    run: BigInt(record.run),
    restartCount: record.restarts.count,
    restarting: waitsForRestart(record),
    restartAtUnixNano: record.restarts.pending?.dueAtUnixNano ?? 0n,
    health: record.health && healthToProto(record.health),
  });
}

export function healthStatusToProto(health: Health | undefined): HealthStatus {
  return health === undefined ? 'HEALTH_STATUS_UNSPECIFIED' : healthStatuses[health.status];
}

function healthToProto(health: Health): HealthMessage {
  return {
    status: healthStatusToProto(health),
    failingStreak: health.failingStreak,
    probes: health.probes.map((probe) => ({ ...probe })),
  };
}

export function execToProto({ execId, containerId, config, state, exitCode, pid }: ExecRecord): Exec {
  return Exec.create({ execId, containerId, config, running: state === 'running', exitCode, pid });
}
