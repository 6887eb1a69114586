import { Container } from '@flotilla/proto/flotilla/v1/container';
import { ImageConfig } from '@flotilla/proto/flotilla/v1/image';
import {
  type ContainerRecord,
  type Made,
  noRestarts,
  type PendingRestart,
  type Restarts,
} from '../domain/container.ts';
import { type StateName, stateNames } from '../domain/container-state.ts';
import { decodeHealth, encodeHealth, type StoredHealth } from './health-codec.ts';

/** A row of `containers`. */
export interface ContainerRow {
  readonly container_id: string;
  readonly name: string;
  readonly container: Uint8Array;
  readonly image_config: Uint8Array | null;
  readonly facts: string;
  readonly status: string;
}

interface Facts {
  readonly idempotencyKey: string;
  readonly requestDigest: string;
  readonly warnings: readonly string[];
  /** Of the mounts, in order. */
  readonly hostPaths: readonly string[];
}

type Status = Pick<
  ContainerRecord,
  'state' | 'run' | 'endedRun' | 'task' | 'exitCode' | 'oomKilled' | 'error' | 'endpoints' | 'ports' | 'removeVolumes'
> & {
  readonly stop:
    | (Omit<NonNullable<ContainerRecord['stop']>, 'killAtUnixNano'> & { killAtUnixNano?: string })
    | undefined;
  /** Absent in what earlier releases wrote. */
  readonly restarts?: (Omit<Restarts, 'pending'> & { pending?: StoredPending | undefined }) | undefined;
  /** Absent in what earlier releases wrote, too. */
  readonly frozenForCommit?: boolean;
  readonly oomKills?: number;
  readonly health?: StoredHealth | undefined;
  readonly startedAtUnixNano: string;
  readonly finishedAtUnixNano: string;
};

type StoredPending = Omit<PendingRestart, 'dueAtUnixNano'> & { readonly dueAtUnixNano: string };

/** What does not change once a container is created. */
export function encodeFixed(record: ContainerRecord): Omit<ContainerRow, 'status'> {
  const { made, config, containerId, name, createdAtUnixNano, sandboxId } = record;
  const mounts = made?.mounts ?? [];
  const message = Container.fromPartial({
    containerId,
    name,
    createdAtUnixNano,
    sandboxId,
    imageId: made?.imageId ?? '',
  });
  message.config = config;
  message.args = [...(made?.args ?? [])];
  message.mounts = mounts.map(({ hostPath: _, ...mount }) => mount);
  const facts: Facts = {
    idempotencyKey: record.idempotencyKey,
    requestDigest: record.requestDigest,
    warnings: record.warnings,
    hostPaths: mounts.map(({ hostPath }) => hostPath),
  };
  return {
    container_id: containerId,
    name,
    container: Container.encode(message).finish(),
    image_config: made === undefined ? null : ImageConfig.encode(made.image).finish(),
    facts: JSON.stringify(facts),
  };
}

/** What changes. */
export function encodeStatus(record: ContainerRecord): string {
  const { state, run, endedRun, task, exitCode, oomKilled, error, endpoints, ports, removeVolumes, stop } = record;
  const status: Status = {
    ...{ state, run, endedRun, task, exitCode, oomKilled, error, endpoints, ports, removeVolumes },
    stop: stop === undefined ? undefined : encodeStop(stop),
    restarts: encodeRestarts(record.restarts),
    oomKills: record.oomKills,
    ...(record.frozenForCommit ? { frozenForCommit: true } : {}),
    health: encodeHealth(record.health),
    startedAtUnixNano: String(record.startedAtUnixNano),
    finishedAtUnixNano: String(record.finishedAtUnixNano),
  };
  return JSON.stringify(status);
}

function encodeStop({ killAtUnixNano, ...stop }: NonNullable<ContainerRecord['stop']>): NonNullable<Status['stop']> {
  return killAtUnixNano === undefined ? stop : { ...stop, killAtUnixNano: String(killAtUnixNano) };
}

function encodeRestarts({ pending, ...restarts }: Restarts): NonNullable<Status['restarts']> {
  if (pending === undefined) return restarts;
  return { ...restarts, pending: { ...pending, dueAtUnixNano: String(pending.dueAtUnixNano) } };
}

/** The record of a row. Throws when the row makes no sense. */
export function decodeContainer(row: ContainerRow): ContainerRecord {
  const message = Container.decode(row.container);
  const facts = JSON.parse(row.facts) as Facts;
  const { stop, restarts, ...status } = JSON.parse(row.status) as Status;
  if (message.config === undefined) throw new Error('the row has no config');
  if (!stateNames.includes(status.state as StateName)) throw new Error(`the state ${status.state} is unknown`);
  return {
    ...status,
    containerId: row.container_id,
    name: row.name,
    config: message.config,
    createdAtUnixNano: message.createdAtUnixNano,
    idempotencyKey: facts.idempotencyKey,
    requestDigest: facts.requestDigest,
    warnings: facts.warnings,
    sandboxId: message.sandboxId,
    made: decodeMade(message, row.image_config, facts),
    task: status.task,
    stop: stop === undefined ? undefined : decodeStop(stop),
    restarts: restarts === undefined ? noRestarts : decodeRestarts(restarts),
    oomKills: status.oomKills ?? 0,
    frozenForCommit: status.frozenForCommit ?? false,
    health: decodeHealth(status.health),
    startedAtUnixNano: BigInt(status.startedAtUnixNano),
    finishedAtUnixNano: BigInt(status.finishedAtUnixNano),
  };
}

function decodeStop({ killAtUnixNano, ...stop }: NonNullable<Status['stop']>): NonNullable<ContainerRecord['stop']> {
  return { ...stop, killAtUnixNano: killAtUnixNano === undefined ? undefined : BigInt(killAtUnixNano) };
}

function decodeRestarts({ pending, ...restarts }: NonNullable<Status['restarts']>): Restarts {
  if (pending === undefined) return { ...restarts, pending };
  return { ...restarts, pending: { ...pending, dueAtUnixNano: BigInt(pending.dueAtUnixNano) } };
}

function decodeMade(message: Container, imageConfig: Uint8Array | null, { hostPaths }: Facts): Made | undefined {
  if (imageConfig === null) return undefined;
  return {
    imageId: message.imageId,
    image: ImageConfig.decode(imageConfig),
    args: message.args,
    mounts: message.mounts.map((mount, index) => ({ ...mount, hostPath: hostPaths[index] ?? mount.source })),
  };
}
