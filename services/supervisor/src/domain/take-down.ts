import type { Engine } from './engine.ts';
import { networkMode } from './validation/modes.ts';
import { unmountVolumes } from './volume-mounts.ts';

/** Ends the shim of a run that is over and gives its network back. Does nothing when that is done. In the queue. */
export async function takeDown(engine: Engine, containerId: string): Promise<void> {
  const { leftovers, shims, networks, repository } = engine;
  if (!leftovers.has(containerId)) return;
  const record = repository.get(containerId);
  const attached = record !== undefined && networkMode(record.config.networkMode).kind === 'network';
  const results = await Promise.allSettled([
    // Volumes last: who is told that one is unmounted finds nobody using it.
    shims.delete(containerId).then(() => unmountVolumes(engine, record)),
    attached ? networks.detach(containerId) : Promise.resolve(),
  ]);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  leftovers.delete(containerId);
}
