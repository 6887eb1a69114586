import { FlotillaError } from '@flotilla/errors';
import type { ContainerRecord } from './container.ts';
import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';
import { waitsForRestart } from './restart-policy.ts';

export type WaitFor =
  | { readonly condition: 'not running'; readonly afterRun?: number | undefined }
  | { readonly condition: 'next exit'; readonly afterRun: number | undefined }
  | { readonly condition: 'removed' };

export interface WaitResult {
  readonly exitCode: number;
  readonly error: string;
  readonly run: number;
}

/** Answers when the condition holds. Rejects with the signal's reason when the caller goes. */
export async function waitContainer(
  { repository }: Pick<Engine, 'repository'>,
  reference: string,
  wanted: WaitFor,
  signal: AbortSignal,
): Promise<WaitResult> {
  const first = repository.find(reference);
  const holds = conditionOf(first, wanted);
  let last = first;
  await untilChange(repository, first.containerId, signal, (record) => {
    if (record !== undefined) last = record;
    return holds(record);
  });
  return { exitCode: last.exitCode, error: last.error, run: last.endedRun };
}

function conditionOf(first: ContainerRecord, wanted: WaitFor): (record: ContainerRecord | undefined) => boolean {
  switch (wanted.condition) {
    case 'not running': {
      // Whoever waits while it runs is told of that run's end, also when the next one begins at once.
      const after = wanted.afterRun ?? first.endedRun;
      const busy = mayRun(first);
      return (record) => record === undefined || !mayRun(record) || (busy && record.endedRun > after);
    }
    case 'removed':
      return (record) => record === undefined;
    case 'next exit': {
      const after = wanted.afterRun ?? first.endedRun;
      return (record) => {
        if (record !== undefined) return record.endedRun > after;
        throw new FlotillaError('not_found', `container ${first.name} was removed before it ran`, {
          reason: 'CONTAINER_NOT_FOUND',
          metadata: { container: first.containerId },
        });
      };
    }
  }
}

/** It runs, or will without anybody's doing. */
function mayRun(record: ContainerRecord): boolean {
  return isLive(record.state) || record.state === 'starting' || waitsForRestart(record);
}

/** Asks `holds` now and at each change until it says yes. */
export function untilChange(
  repository: Engine['repository'],
  containerId: string,
  signal: AbortSignal,
  holds: (record: ContainerRecord | undefined) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let unwatch = () => {};
    const end = (settle: () => void) => {
      unwatch();
      signal.removeEventListener('abort', abort);
      settle();
    };
    const abort = () => end(() => reject(signal.reason));
    const look = (record: ContainerRecord | undefined) => {
      try {
        if (holds(record)) end(resolve);
      } catch (error) {
        end(() => reject(error));
      }
    };
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    unwatch = repository.watch(containerId, look);
    look(repository.get(containerId));
  });
}
