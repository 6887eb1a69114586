import { FlotillaError } from '@flotilla/errors';
import type { ContainerRecord } from './container.ts';
import { isLive } from './container-state.ts';
import { type Engine, mustGet } from './engine.ts';
import { isToEnd, restartsAfterSignal, waitsForRestart } from './restart-policy.ts';
import { parseSignal } from './signals.ts';
import { killEvent } from './stop-container.ts';
import { saveThawed, thawAfterSignal } from './thaw-after-signal.ts';
import { untilStored } from './until-stored.ts';
import { whileFlushing } from './while-flushing.ts';

const sigkill = 9;

/** Sends a signal to init. FAILED_PRECONDITION / CONTAINER_NOT_RUNNING. */
export async function killContainer(engine: Engine, reference: string, signalText: string): Promise<void> {
  const { repository, queue, shims, now } = engine;
  const { containerId } = repository.find(reference);
  const signal = signalText === '' ? sigkill : parseSignal(signalText, 'signal');
  return queue.run(containerId, async () => {
    const found = mustGet(engine, containerId);
    const waits = waitsForRestart(found);
    if (!waits) checkRunning(found);
    // Before the signal: what it ends must not be started again.
    const record = { ...found, restarts: restartsAfterSignal(found, signal) };
    repository.save({ container: record });
    if (waits) return repository.flush();
    await whileFlushing(engine, () => shims.kill(record, signal, false));
    const events = [killEvent(record, signal, now())];
    await untilStored(engine, containerId, () => repository.save({ container: mustGet(engine, containerId), events }));
    // A frozen process takes even SIGKILL only once it is thawed (cgroups(7), freezer of version 1).
    if (record.state !== 'paused' || !isToEnd(record, signal)) return;
    const outcome = await thawAfterSignal(engine, containerId);
    if (outcome === 'thawed' && signal !== sigkill) await saveThawed(engine, containerId); // it may go on
  });
}

/** FAILED_PRECONDITION / CONTAINER_NOT_RUNNING. */
export function checkRunning(record: ContainerRecord): void {
  const { state, name, containerId } = record;
  if (isLive(state)) return;
  const text = waitsForRestart(record) ? 'is restarting: wait until it runs' : 'is not running';
  throw new FlotillaError('failed_precondition', `container ${name} ${text}`, {
    reason: 'CONTAINER_NOT_RUNNING',
    metadata: { containerId, state },
  });
}
