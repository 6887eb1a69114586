import { type ContainerEvent, type ContainerRecord, containerEvent, moveTo } from './container.ts';
import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';
import type { ExecRecord } from './exec.ts';
import { afterRun } from './health/health.ts';
import type { ExitRecord } from './ports.ts';
import { removeQueued } from './remove-container.ts';
import { restartsAfterExit } from './restart-policy.ts';
import { scheduleRestart } from './schedule-restart.ts';
import { takeDown } from './take-down.ts';

/** Of an exec that went with its container before anyone could say how it ended: SIGKILL. */
const killedExitCode = 137;
/** How long a container that is removed when it exits stays for clients that have not had all of its output. */
const attachedMs = 10_000;

/** A shim, or a file it left, says how a run ended. Told twice, the second time changes nothing. */
export async function reportExit(engine: Engine, containerId: string, exit: ExitRecord): Promise<void> {
  return engine.queue.run(containerId, async () => {
    if (!recordExit(engine, containerId, exit)) return;
    scheduleAftermath(engine, containerId);
  });
}

/** Stores an exit with its events. False when it was known, or of another run. In the container's queue. */
export function recordExit({ repository, leftovers, now }: Engine, containerId: string, exit: ExitRecord): boolean {
  const record = repository.get(containerId);
  if (record === undefined || record.run !== exit.run || !(isLive(record.state) || record.state === 'starting')) {
    return false;
  }
  const exited = moveTo(record, 'exited', {
    task: undefined,
    stop: undefined,
    restarts: restartsAfterExit(record, exit, now()),
    endpoints: [],
    ports: [],
    endedRun: exit.run,
    exitCode: exit.exitCode,
    oomKilled: exit.oomKilled || record.oomKills > 0,
    health: afterRun(record.health),
    error: exit.error ?? '',
    finishedAtUnixNano: exit.exitedAtUnixNano,
  });
  const cut = repository.execsOf(containerId).filter(({ state }) => state === 'running');
  const events = [
    ...cut.map((exec) => execDie(record, exec, killedExitCode, now())),
    ...exitEvents(record, exit, now()),
  ];
  const execs = cut.map((exec): ExecRecord => ({ ...exec, state: 'exited', exitCode: killedExitCode }));
  leftovers.add(containerId);
  // Not flushed: the shim's own record of the exit was, and is read again after power loss.
  repository.save({ container: exited, execs, events });
  return true;
}

/** In Docker's order: `oom` unless it was announced before, `stop` when one was asked for, `die`. */
function exitEvents(record: ContainerRecord, exit: ExitRecord, now: bigint): ContainerEvent[] {
  const seconds =
    record.startedAtUnixNano === 0n ? 0n : (exit.exitedAtUnixNano - record.startedAtUnixNano) / 1_000_000_000n;
  const details = { exitCode: String(exit.exitCode), execDuration: String(seconds < 0n ? 0n : seconds) };
  return [
    ...(exit.oomKilled && record.oomKills === 0 ? [containerEvent(record, 'oom', now)] : []),
    ...(record.stop?.announceStop === true ? [containerEvent(record, 'stop', now)] : []),
    containerEvent(record, 'die', now, details),
  ];
}

/** Docker's `exec_die`. */
export function execDie(record: ContainerRecord, exec: ExecRecord, exitCode: number, now: bigint): ContainerEvent {
  return containerEvent(record, 'exec_die', now, { execID: exec.execId, exitCode: String(exitCode) });
}

/** Whether a container that is removed when it exits has done so, be it that it could not start. */
export function wantsRemoval(
  { restarting }: Engine,
  { config, endedRun, state, containerId, restarts }: ContainerRecord,
): boolean {
  const over = endedRun > 0 && (state === 'exited' || state === 'created' || state === 'dead');
  return over && config.autoRemove && restarts.pending === undefined && !restarting.has(containerId);
}

/** After the shim has its answer: takes down what the run left, and removes or starts again a container that wants it. */
export function scheduleAftermath(engine: Engine, containerId: string): void {
  const { queue, log, attachments } = engine;
  const onFailure = (err: unknown) =>
    log.warn({ containerId, err }, 'what a run left could not be taken down; tried again later');
  scheduleRestart(engine, containerId);
  queue
    .run(containerId, async () => {
      await takeDown(engine, containerId);
      if (!attachments.has(containerId)) return removeIfWanted(engine, containerId);
      // Not in the queue: whoever cannot wait removes it by force.
      attachments
        .whenNone(containerId, attachedMs)
        .then(() => queue.run(containerId, () => removeIfWanted(engine, containerId)))
        .catch(onFailure);
    })
    .catch(onFailure);
}

async function removeIfWanted(engine: Engine, containerId: string): Promise<void> {
  const record = engine.repository.get(containerId);
  if (record !== undefined && wantsRemoval(engine, record)) await removeQueued(engine, containerId, true);
}
