import type { ContainerRecord } from './container.ts';
import type { HostFacts } from './host-facts.ts';
import type { KeyedQueue } from './keyed-queue.ts';
import type { OpenArchives } from './open-archives.ts';
import type { OpenAttachments } from './open-attachments.ts';
import type { Files, Images, Launcher, Log, Networks, Repository, Shims } from './ports.ts';
import type { RestartTimers } from './restart-timers.ts';
import type { TaskWaiters } from './task-waiters.ts';

/** All that the use cases work with. */
export interface Engine {
  /** Marks what is this engine's in the kernel. */
  readonly instance: string;
  readonly facts: HostFacts;
  readonly repository: Repository;
  readonly images: Images;
  readonly networks: Networks;
  readonly launcher: Launcher;
  readonly shims: Shims;
  readonly files: Files;
  readonly queue: KeyedQueue;
  readonly waiters: TaskWaiters;
  readonly attachments: OpenAttachments;
  readonly archives: OpenArchives;
  readonly log: Log;
  /** Containers whose last run is over, but whose shim and sandbox have not been taken down. */
  readonly leftovers: Set<string>;
  /** Containers that could not be made, of which something may be left. */
  readonly strays: Set<string>;
  /** Containers that are between the stop and the start of a restart: their exit does not remove them. */
  readonly restarting: Set<string>;
  /** Starts of containers that wait for their restart. */
  readonly due: RestartTimers;
  now(): bigint;
}

/** A container that must be there still, read in its queue. */
export function mustGet({ repository }: Engine, containerId: string): ContainerRecord {
  return repository.get(containerId) ?? repository.find(containerId);
}
