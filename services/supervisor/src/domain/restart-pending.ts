import type { ContainerRecord } from './container.ts';
import type { Engine } from './engine.ts';
import { waitsForRestart } from './restart-policy.ts';
import { type StartOrder, startQueued } from './start-container.ts';

/** What a run left could not be taken down: not yet. */
const retryMs = 1_000;

/** Starts a container whose restart is due, unless something has come between. */
export async function restartPending(engine: Engine, containerId: string): Promise<void> {
  const { queue, repository, restarting, due, log } = engine;
  try {
    await queue.run(containerId, async () => {
      const record = repository.get(containerId);
      // A user's restart that is under way starts it by itself.
      if (record === undefined || !waitsForRestart(record) || restarting.has(containerId)) return;
      await startQueued(engine, containerId, orderFor(record));
    });
  } catch (err) {
    const waits = repository.get(containerId)?.restarts.pending !== undefined;
    log.warn({ containerId, err, waits }, 'a container could not be started again');
    // One that got as far as to fail has been given its next date, or none.
    if (waits && !due.has(containerId)) due.set(containerId, retryMs);
  }
}

function orderFor({ restarts }: ContainerRecord): StartOrder {
  return restarts.pending?.byUser === true
    ? { by: 'user', alsoAnnounce: ['restart'] }
    : { by: 'policy', alsoAnnounce: [] };
}
