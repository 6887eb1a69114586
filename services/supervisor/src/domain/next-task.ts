import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';
import type { TaskPlace } from './task-waiters.ts';
import { untilChange } from './wait-container.ts';

/**
 * Waits for a container's next task: before its release, or, for one who comes between the release and the record of it,
 * once it runs. NOT_FOUND / CONTAINER_NOT_FOUND when the container goes; the signal's reason when the caller does.
 */
export async function nextTask(
  { repository, waiters }: Pick<Engine, 'repository' | 'waiters'>,
  containerId: string,
  signal: AbortSignal,
): Promise<TaskPlace> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const running = untilChange(repository, containerId, either, (record) =>
    isLive((record ?? repository.find(containerId)).state),
  ).then(() => ({ run: repository.find(containerId).run, expected: false }));
  try {
    return await Promise.race([waiters.next(containerId, either), running]);
  } finally {
    over.abort(new Error('answered'));
    running.catch(() => {}); // The loser's.
  }
}
