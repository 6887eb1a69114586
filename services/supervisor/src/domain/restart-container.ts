import type { Engine } from './engine.ts';
import { scheduleRestart } from './schedule-restart.ts';
import { parseSignal } from './signals.ts';
import { mergeStopSignal, stopTimeoutSeconds } from './spec/merge-config.ts';
import { startQueued } from './start-container.ts';
import { type StopRequest, stopWith } from './stop-container.ts';

/** Stops a container and starts it again; one that does not run is started. Answers the number of the new run. */
export async function restartContainer(engine: Engine, reference: string, request: StopRequest): Promise<number> {
  const { repository, restarting, queue } = engine;
  const { containerId, config, made } = repository.find(reference);
  const signal = request.signal === '' ? undefined : parseSignal(request.signal, 'signal');
  restarting.add(containerId);
  try {
    await stopWith(engine, containerId, {
      signal: signal ?? (made === undefined ? 9 : mergeStopSignal(config, made.image)),
      timeoutSeconds: stopTimeoutSeconds(request.timeoutSeconds, config),
      purpose: { restart: true, announceStop: true },
    });
    const { run } = await queue.run(containerId, () =>
      startQueued(engine, containerId, { by: 'user', alsoAnnounce: ['restart'] }),
    );
    return run;
  } finally {
    restarting.delete(containerId);
    scheduleRestart(engine, containerId); // It may have come to nothing after the stop.
  }
}
