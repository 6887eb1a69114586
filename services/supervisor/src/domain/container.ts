import type { ContainerConfig, Endpoint, ImageConfig, MountConfig, PortMapping } from './container-config.ts';
import { checkTransition, type StateName } from './container-state.ts';
import type { Health } from './health/health.ts';

/** What was asked for, what came of it, how it is: a value, replaced as a whole when it changes. */
export interface ContainerRecord {
  readonly containerId: string;
  readonly name: string;
  readonly config: ContainerConfig;
  readonly createdAtUnixNano: bigint;
  /** The caller's key for the create call and the digest of that call; both empty without one. */
  readonly idempotencyKey: string;
  readonly requestDigest: string;
  /** What the create call answered besides the id. */
  readonly warnings: readonly string[];
  /** Its own id, or the id of the container whose network namespace it joined. */
  readonly sandboxId: string;
  /** Absent until it is created. */
  readonly made: Made | undefined;
  readonly state: StateName;
  /** Number of the current or last run; 0 before the first. */
  readonly run: number;
  /** Number of the last run that is over, be it that it could not start. */
  readonly endedRun: number;
  /** It is, or is about to be, frozen for a commit alone: without that commit it is to be thawed. */
  readonly frozenForCommit: boolean;
  /** Present while there is a process, or may be one. */
  readonly task: Task | undefined;
  /** Present while it stops. */
  readonly stop: StopIntent | undefined;
  readonly restarts: Restarts;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** How often the kernel has killed a process of the last run for want of memory, as far as it was announced. */
  readonly oomKills: number;
  /** Of the last run; undefined without a health check. */
  readonly health: Health | undefined;
  /** Why the last start or removal failed, empty if it did not. */
  readonly error: string;
  /** Nanoseconds since the Unix epoch; 0 if never. */
  readonly startedAtUnixNano: bigint;
  readonly finishedAtUnixNano: bigint;
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly PortMapping[];
  /** Present while it is removed. */
  readonly removeVolumes: boolean;
}

/** What creating settled. */
export interface Made {
  readonly imageId: string;
  readonly image: ImageConfig;
  readonly args: readonly string[];
  /** Sources resolved to volume names and paths of the host. */
  readonly mounts: readonly ResolvedMount[];
}

export interface ResolvedMount extends MountConfig {
  /** Path on the host; empty for tmpfs. */
  readonly hostPath: string;
}

/** The live side of a run. */
export interface Task {
  readonly initPid: number;
  readonly shimPid: number;
  /** Pins the network namespace; empty without one of the engine's. */
  readonly netnsPath: string;
}

export interface StopIntent {
  /** Number. */
  readonly signal: number;
  /** When SIGKILL follows; undefined for never. */
  readonly killAtUnixNano: bigint | undefined;
  /** SIGKILL was sent. */
  readonly killed: boolean;
  /** It is to start again. */
  readonly restart: boolean;
  /** A `stop` is announced when it has exited: not when it is removed by force. */
  readonly announceStop: boolean;
}

/** What the restart policy has come to since a user started the container. */
export interface Restarts {
  /** How often the policy started it, or is about to. */
  readonly count: number;
  /** The last pause before a start, milliseconds; 0 when a user started it. */
  readonly pauseMs: number;
  /** A user stopped it: the policy leaves it alone. */
  readonly cancelled: boolean;
  /** A user stopped it or sent it a signal: `unless-stopped` leaves it down, also after a boot of the host. */
  readonly stoppedByUser: boolean;
  /** Present while it waits to be started. */
  readonly pending: PendingRestart | undefined;
}

/** As it is when a user starts a container. */
export const noRestarts: Restarts = {
  count: 0,
  pauseMs: 0,
  cancelled: false,
  stoppedByUser: false,
  pending: undefined,
};

export interface PendingRestart {
  readonly dueAtUnixNano: bigint;
  /** The second half of a restart that a user asked for. */
  readonly byUser: boolean;
}

/** Something to announce. */
export interface ContainerEvent {
  /** Docker's word: `create`, `die`, `exec_start: sh`. */
  readonly action: string;
  readonly containerId: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly timeUnixNano: bigint;
  /** Unique for ever; made up when absent. */
  readonly eventId?: string;
}

export function newContainer(
  fields: Pick<
    ContainerRecord,
    | 'containerId'
    | 'name'
    | 'config'
    | 'createdAtUnixNano'
    | 'idempotencyKey'
    | 'requestDigest'
    | 'warnings'
    | 'sandboxId'
  >,
): ContainerRecord {
  return {
    ...fields,
    made: undefined,
    state: 'creating',
    run: 0,
    endedRun: 0,
    frozenForCommit: false,
    task: undefined,
    stop: undefined,
    restarts: noRestarts,
    exitCode: 0,
    oomKilled: false,
    oomKills: 0,
    health: undefined,
    error: '',
    startedAtUnixNano: 0n,
    finishedAtUnixNano: 0n,
    endpoints: [],
    ports: [],
    removeVolumes: false,
  };
}

/** The record in another state, with what else changes. FAILED_PRECONDITION / ILLEGAL_TRANSITION when it may not be. */
export function moveTo(
  record: ContainerRecord,
  state: StateName,
  changes: Partial<ContainerRecord> = {},
): ContainerRecord {
  checkTransition(record.state, state, record.containerId);
  const frozen = state === 'pausing' || state === 'paused';
  return { ...record, frozenForCommit: frozen && record.frozenForCommit, ...changes, state };
}

/** The labels of image and user, the image as it was asked for, the name: Docker's attributes of a container's events. */
export function containerEvent(
  record: ContainerRecord,
  action: string,
  timeUnixNano: bigint,
  attributes: Readonly<Record<string, string>> = {},
): ContainerEvent {
  const { containerId, name, config, made } = record;
  const labels = { ...made?.image.labels, ...config.labels };
  return { action, containerId, attributes: { ...labels, ...attributes, image: config.image, name }, timeUnixNano };
}
