import type { Engine } from './engine.ts';
import { waitsForRestart } from './restart-policy.ts';

/**
 * Sees to it that a container that waits for its restart gets it when it is due: the intent is stored already. In the time
 * that is left of its pause, never more: the clock may have been set back.
 */
export function scheduleRestart({ repository, due, now }: Engine, containerId: string): void {
  const record = repository.get(containerId);
  const pending = record?.restarts.pending;
  if (record === undefined || pending === undefined || !waitsForRestart(record)) return;
  const leftMs = Number((pending.dueAtUnixNano - now()) / 1_000_000n);
  due.set(containerId, Math.min(leftMs, record.restarts.pauseMs));
}
