import { FlotillaError } from '@flotilla/errors';
import { type ContainerRecord, containerEvent, moveTo } from './container.ts';
import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';
import { cancelled, waitsForRestart } from './restart-policy.ts';
import { parseSignal } from './signals.ts';
import { mergeStopSignal, stopTimeoutSeconds } from './spec/merge-config.ts';
import { thawAfterSignal } from './thaw-after-signal.ts';
import { untilChange } from './wait-container.ts';
import { whileFlushing } from './while-flushing.ts';

export interface StopRequest {
  /** Empty: the container's. */
  readonly signal: string;
  /** Seconds; undefined: the container's; negative: for ever. */
  readonly timeoutSeconds: number | undefined;
}

/** How a stop is meant. */
export interface StopPurpose {
  readonly restart: boolean;
  readonly announceStop: boolean;
}

const sigkill = 9;
/** After SIGKILL the kernel needs a moment; a process that waits for a device may never go. */
const killGraceMs = 10_000;

/** Sends the stop signal, then SIGKILL; answers once the container has exited. False when it did not run. */
export async function stopContainer(engine: Engine, reference: string, request: StopRequest): Promise<boolean> {
  const { containerId, made, config } = engine.repository.find(reference);
  const signal = request.signal === '' ? undefined : parseSignal(request.signal, 'signal');
  const usual = made === undefined ? sigkill : mergeStopSignal(config, made.image);
  return stopWith(engine, containerId, {
    signal: signal ?? usual,
    timeoutSeconds: stopTimeoutSeconds(request.timeoutSeconds, config),
    purpose: { restart: false, announceStop: true },
  });
}

export interface StopPlan {
  readonly signal: number;
  readonly timeoutSeconds: number | undefined;
  readonly purpose: StopPurpose;
}

export async function stopWith(engine: Engine, containerId: string, plan: StopPlan): Promise<boolean> {
  const run = await engine.queue.run(containerId, () => beginStop(engine, containerId, plan));
  if (run === undefined) return false;
  await finishStop(engine, containerId, run);
  return true;
}

/** Writes the intent with its event, then sends the signal. Undefined when it does not run. */
async function beginStop(engine: Engine, containerId: string, plan: StopPlan): Promise<number | undefined> {
  const { repository, now } = engine;
  const record = repository.get(containerId);
  if (record === undefined) return undefined;
  if (waitsForRestart(record)) return stopWaiting(engine, record, plan);
  if (!isLive(record.state)) return undefined;
  const wasPaused = record.state === 'paused' || record.state === 'pausing';
  const { signal, timeoutSeconds, purpose } = plan;
  const stop = {
    signal,
    killAtUnixNano: timeoutSeconds === undefined ? undefined : now() + BigInt(timeoutSeconds) * 1_000_000_000n,
    killed: signal === sigkill,
    restart: purpose.restart || record.stop?.restart === true,
    announceStop: purpose.announceStop,
  };
  const changes = { stop, restarts: cancelled(record.restarts) };
  const stopping =
    record.state === 'stopping' ? { ...record, ...changes } : moveTo(thawable(record), 'stopping', changes);
  repository.save({ container: stopping, events: [killEvent(stopping, signal, now())] });
  // After power loss, too, its policy knows that a user has stopped it.
  await whileFlushing(engine, () => sendSignal(engine, stopping, signal));
  if (wasPaused) await thawAfterSignal(engine, containerId);
  return record.run;
}

/** One that waits to be started again has no process: as in Docker it is stopped by leaving it as it is. */
async function stopWaiting(
  { repository, due, now }: Engine,
  record: ContainerRecord,
  { purpose }: StopPlan,
): Promise<number> {
  const stopped = { ...record, restarts: cancelled(record.restarts) };
  const events = purpose.announceStop ? [containerEvent(stopped, 'stop', now())] : [];
  due.clear(record.containerId);
  repository.save({ container: stopped, events });
  await repository.flush();
  return record.run;
}

/** A container that is being frozen counts as running: what the freeze came to is told by the resume that follows. */
function thawable(record: ContainerRecord): ContainerRecord {
  return record.state === 'pausing' ? { ...record, state: 'running' } : record;
}

export function killEvent(record: ContainerRecord, signal: number, now: bigint) {
  return containerEvent(record, 'kill', now, { signal: String(signal) });
}

async function sendSignal(engine: Engine, record: ContainerRecord, signal: number): Promise<void> {
  await engine.shims.kill(record, signal, signal === sigkill);
}

/** Waits for the exit, with SIGKILL when its time has come. Also what a restarted supervisor goes on with. */
export async function finishStop(engine: Engine, containerId: string, run: number): Promise<void> {
  const { repository, now, queue } = engine;
  const stop = repository.get(containerId)?.stop;
  if (stop !== undefined && !stop.killed) {
    const left = stop.killAtUnixNano === undefined ? undefined : Number((stop.killAtUnixNano - now()) / 1_000_000n);
    if (await exited(engine, containerId, run, left)) return;
    await queue.run(containerId, async () => {
      const record = repository.get(containerId);
      if (record?.state !== 'stopping' || record.run !== run || record.stop === undefined) return;
      if (!record.stop.killed) {
        const killing = { ...record, stop: { ...record.stop, killed: true } };
        repository.save({ container: killing, events: [killEvent(record, sigkill, now())] });
      }
      await sendSignal(engine, record, sigkill);
    });
  }
  if (await exited(engine, containerId, run, killGraceMs)) return;
  const record = repository.get(containerId);
  throw new FlotillaError(
    'deadline_exceeded',
    `container ${record?.name ?? containerId} did not exit after SIGKILL: process ${record?.task?.initPid ?? '?'} cannot be ended by the kernel now (proc(5), state D)`,
    { reason: 'CONTAINER_STUCK', metadata: { containerId, initPid: String(record?.task?.initPid ?? 0) } },
  );
}

/** Whether a run is over within so many milliseconds; undefined for ever. */
export async function exited(
  { repository }: Pick<Engine, 'repository'>,
  containerId: string,
  run: number,
  withinMs: number | undefined,
): Promise<boolean> {
  const over = (record: ContainerRecord | undefined) => record === undefined || record.endedRun >= run;
  if (over(repository.get(containerId))) return true;
  const controller = new AbortController();
  const timer =
    withinMs === undefined
      ? undefined
      : setTimeout(() => controller.abort(), Math.min(Math.max(withinMs, 0), 2 ** 31 - 1));
  try {
    await untilChange(repository, containerId, controller.signal, over);
    return true;
  } catch (error) {
    if (controller.signal.aborted) return false;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
