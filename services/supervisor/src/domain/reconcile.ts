import { thawAfterCommit } from './commit-freezes.ts';
import { type ContainerRecord, containerEvent, moveTo } from './container.ts';
import { undoCreate } from './create-container.ts';
import type { Engine } from './engine.ts';
import { removeQueued } from './remove-container.ts';
import { openSandbox } from './sandbox.ts';
import { scheduleRestart } from './schedule-restart.ts';
import { beginAnew, hasNeverRun, release, runStart, saveRunning, startQueued } from './start-container.ts';
import { finishStop } from './stop-container.ts';
import { sweep } from './sweep.ts';
import { recordExit, scheduleAftermath, wantsRemoval } from './task-exit.ts';
import type { TaskMonitor } from './task-monitor.ts';

const longestPauseMs = 5_000;
const firstPauseMs = 200;

/**
 * Compares the records with the truth once, at start. What files and the kernel say is read at once, so that everything
 * that runs is known when the first call comes; what needs other services is done beside the calls, again and again
 * until it is done.
 */
export function reconcile(engine: Engine, monitor: TaskMonitor, signal: AbortSignal): void {
  const withShim = new Set(engine.files.listShimDirs());
  for (const record of [...engine.repository.all()]) {
    const { containerId } = record;
    if ((record.state === 'exited' || record.state === 'created') && withShim.has(containerId)) {
      engine.leftovers.add(containerId);
    }
    monitor.check(containerId);
    scheduleRestart(engine, containerId);
    const work = remainingWork(engine, record);
    if (work !== undefined) persist(engine, containerId, signal, work);
  }
  persist(engine, '', signal, () => sweep(engine));
}

/** Does the work in the background, again while it fails. */
function persist({ log }: Engine, containerId: string, signal: AbortSignal, work: () => Promise<void>): void {
  const attempt = (pauseMs: number): void => {
    if (signal.aborted) return;
    work().catch((err: unknown) => {
      log.warn({ containerId, err }, 'work that was found half done could not be finished; tried again');
      const timer = setTimeout(() => attempt(Math.min(2 * pauseMs, longestPauseMs)), pauseMs);
      timer.unref();
    });
  };
  attempt(firstPauseMs);
}

/** What was under way when the process before this one ended: driven on where it can be, else back. */
function remainingWork(engine: Engine, record: ContainerRecord) {
  const { state, containerId, run } = record;
  const queued = (work: () => Promise<void>) => () => engine.queue.run(containerId, work);
  const current = () => engine.repository.get(containerId);
  switch (state) {
    case 'creating':
      return queued(async () => {
        if (current()?.state === 'creating') await undoCreate(engine, containerId);
      });
    case 'starting':
      return queued(() => resumeStart(engine, containerId, run));
    case 'paused':
      return record.frozenForCommit ? () => thawAfterCommit(engine, containerId) : undefined;
    case 'pausing':
      if (record.frozenForCommit) return () => thawAfterCommit(engine, containerId);
      return queued(() => resumePause(engine, containerId));
    case 'stopping':
      return () => resumeStop(engine, containerId, run);
    case 'removing':
      return queued(async () => {
        const now = current();
        if (now?.state !== 'removing' && now?.state !== 'dead') return;
        await removeQueued(engine, containerId, now.removeVolumes);
      });
    case 'created':
    case 'exited':
    case 'dead':
      if (!wantsRemoval(engine, record) && !engine.leftovers.has(containerId)) return undefined;
      return async () => scheduleAftermath(engine, containerId);
    default:
      return undefined;
  }
}

async function resumeStart(engine: Engine, containerId: string, run: number): Promise<void> {
  const starting = engine.repository.get(containerId);
  if (starting?.state !== 'starting' || starting.run !== run) return;
  const truth = engine.files.probe(containerId, run);
  switch (truth.kind) {
    case 'alive':
      return goOnWithStart(engine, starting, truth);
    case 'exited': {
      const task = { shimPid: 0, initPid: 0, netnsPath: '' };
      const started = { initPid: 0, startedAtUnixNano: truth.exit.exitedAtUnixNano };
      saveRunning(engine, { ...starting, task }, started, []);
      if (recordExit(engine, containerId, truth.exit)) scheduleAftermath(engine, containerId);
      return;
    }
    case 'gone':
      await startAgain(engine, starting);
  }
}

/** Its shim was killed before init was released, perhaps: then another run is begun, as by the process before this one. */
async function goOnWithStart(
  engine: Engine,
  starting: ContainerRecord,
  { shimPid, initPid }: { readonly shimPid: number; readonly initPid: number },
): Promise<void> {
  const { containerId, run } = starting;
  const { attached } = await openSandbox(engine, starting);
  const task = { shimPid, initPid, netnsPath: attached?.netnsPath ?? '' };
  const { endpoints = [], ports = [] } = attached ?? {};
  try {
    const started = await release(engine, containerId, engine.waiters.announce(containerId, run));
    saveRunning(engine, { ...starting, task, endpoints, ports }, started, []);
  } catch (error) {
    if (!hasNeverRun(error)) throw error;
    await startAgain(engine, await beginAnew(engine, starting));
  }
}

/** Its failure is kept in the record, as it would have been told to the caller. */
async function startAgain(engine: Engine, starting: ContainerRecord): Promise<void> {
  await runStart(engine, starting, []).catch((err: unknown) =>
    engine.log.warn({ containerId: starting.containerId, err }, 'a start that was found half done failed'),
  );
}

async function resumePause(engine: Engine, containerId: string): Promise<void> {
  const { repository, shims, now } = engine;
  const pausing = repository.get(containerId);
  if (pausing?.state !== 'pausing') return;
  await shims.pause(containerId);
  const paused = moveTo(pausing, 'paused');
  repository.save({ container: paused, events: [containerEvent(paused, 'pause', now())] });
}

async function resumeStop(engine: Engine, containerId: string, run: number): Promise<void> {
  const { repository, shims, queue, restarting } = engine;
  const stopping = repository.get(containerId);
  if (stopping?.state !== 'stopping' || stopping.run !== run || stopping.stop === undefined) return;
  const { signal, restart } = stopping.stop;
  if (restart) restarting.add(containerId);
  try {
    // The signal may not have been sent; sent twice it does what it does once.
    await queue.run(containerId, async () => {
      if (repository.get(containerId)?.state === 'stopping') await shims.kill(stopping, signal, false);
    });
    await finishStop(engine, containerId, run);
    if (restart)
      await queue.run(containerId, () => startQueued(engine, containerId, { by: 'user', alsoAnnounce: ['restart'] }));
  } finally {
    restarting.delete(containerId);
    scheduleRestart(engine, containerId);
  }
}
