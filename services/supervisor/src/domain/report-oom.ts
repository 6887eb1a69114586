import { containerEvent } from './container.ts';
import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';

/** A run may be killed faster than anybody reads: of one report so many kills are announced at most. */
const mostEvents = 100;

/**
 * A shim tells how often the kernel has killed a process of a run for want of memory: an `oom` for each kill that was not
 * known yet. Told twice, the second time changes nothing; told after the exit, neither: the exit has said it.
 */
export async function reportOom(engine: Engine, containerId: string, run: number, killCount: number): Promise<void> {
  const { repository, queue, now } = engine;
  await queue.run(containerId, async () => {
    const record = repository.get(containerId);
    if (record === undefined || record.run !== run || !(isLive(record.state) || record.state === 'starting')) return;
    const fresh = Math.min(killCount - record.oomKills, mostEvents);
    if (fresh <= 0) return;
    const events = Array.from({ length: fresh }, () => containerEvent(record, 'oom', now()));
    repository.save({ container: { ...record, oomKills: killCount, oomKilled: true }, events });
  });
}
