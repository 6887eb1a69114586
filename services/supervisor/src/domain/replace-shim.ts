import { type Engine, mustGet } from './engine.ts';
import { checkRunning } from './kill-container.ts';
import type { ReplacedShim } from './ports.ts';

/**
 * Has a new shim take a running container over. CONTAINER_NOT_RUNNING; SHIM_FAILED: the old one goes on. One that died
 * meanwhile is the launcher's to replace, and the monitor's to find.
 */
export async function replaceShim(
  engine: Engine,
  reference: string,
): Promise<ReplacedShim & { readonly containerId: string }> {
  const { repository, queue, launcher } = engine;
  const { containerId } = repository.find(reference);
  return queue.run(containerId, async () => {
    checkRunning(mustGet(engine, containerId));
    const replaced = await launcher.replace(containerId);
    // It may have ended in the meantime.
    const record = mustGet(engine, containerId);
    if (record.task !== undefined) {
      repository.save({ container: { ...record, task: { ...record.task, shimPid: replaced.shimPid } } });
    }
    return { containerId, ...replaced };
  });
}
