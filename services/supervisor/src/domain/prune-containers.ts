import { hasReason } from '@flotilla/errors';
import type { ContainerRecord } from './container.ts';
import type { Engine } from './engine.ts';
import { removeContainer } from './remove-container.ts';
import { waitsForRestart } from './restart-policy.ts';

export interface PruneRequest {
  /** `key` or `key=value`; all must hold. */
  readonly labels: readonly string[];
  /** One for which all of these hold stays. */
  readonly labelsNot: readonly string[];
  /** Made before. */
  readonly untilUnixNano?: bigint | undefined;
}

export interface Pruned {
  readonly containerIds: readonly string[];
  /** What they had written, bytes. */
  readonly bytes: number;
}

/** Removes containers that do not run, one after the other; their volumes stay. */
export async function pruneContainers(engine: Engine, request: PruneRequest, signal: AbortSignal): Promise<Pruned> {
  const { repository, images, log } = engine;
  const going = [...repository.all()].filter((record) => isMeant(record, request));
  if (going.length === 0) return { containerIds: [], bytes: 0 };
  const written = await images.usage(
    going.map(({ containerId }) => containerId),
    signal,
  );
  const containerIds: string[] = [];
  let bytes = 0;
  for (const { containerId } of going) {
    signal.throwIfAborted();
    try {
      await removeContainer(engine, containerId, { force: false, removeVolumes: false });
    } catch (error) {
      // Started, or removed by somebody else, meanwhile.
      if (hasReason(error, 'CONTAINER_RUNNING') || hasReason(error, 'CONTAINER_NOT_FOUND')) continue;
      if (signal.aborted) throw error;
      // As Docker: one that cannot be removed keeps no other, and what was removed is told.
      log.warn({ containerId, err: error }, 'a container is not pruned');
      continue;
    }
    containerIds.push(containerId);
    bytes += written.get(containerId) ?? 0;
  }
  return { containerIds, bytes };
}

function isMeant(record: ContainerRecord, { labels, labelsNot, untilUnixNano: until }: PruneRequest): boolean {
  const isOver = ['created', 'exited', 'dead'].includes(record.state) && !waitsForRestart(record);
  if (!isOver || (until !== undefined && record.createdAtUnixNano > until)) return false;
  const has = (filter: string) => hasLabel(record, filter);
  return labels.every(has) && (labelsNot.length === 0 || !labelsNot.every(has));
}

/** A container's labels are its own and its image's. */
export function hasLabel({ config, made }: ContainerRecord, filter: string): boolean {
  const equals = filter.indexOf('=');
  const key = equals === -1 ? filter : filter.slice(0, equals);
  const value = config.labels[key] ?? made?.image.labels[key];
  return value !== undefined && (equals === -1 || value === filter.slice(equals + 1));
}
