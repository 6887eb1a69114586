import { type ContainerRecord, noRestarts } from './container.ts';
import { isLive } from './container-state.ts';
import type { Engine } from './engine.ts';
import type { ExitRecord } from './ports.ts';
import { firstPauseMs, wantsStartAtBoot } from './restart-policy.ts';
import { saveRunning } from './start-container.ts';
import { recordExit } from './task-exit.ts';

const lostExitCode = 255;

/**
 * The host has booted: nothing runs, whatever files of the last boot say. Every run is over, with the exit code that was
 * written down or else 255, and what its policy wants to run waits for its start: also, as in Docker, an `always` that a
 * user had stopped. A start that was under way counts as done: its caller may have had the answer, and a command that has
 * run is not run twice. Told of the same boot twice it changes nothing that has been started since.
 */
export function settleAfterBoot(engine: Engine): void {
  const { repository, log, now } = engine;
  for (const found of [...repository.all()]) {
    const { containerId, state } = found;
    if (isLive(state) || state === 'starting') {
      const exit = endOf(engine, found);
      if (state === 'starting') {
        const task = { initPid: 0, shimPid: 0, netnsPath: '' };
        saveRunning(engine, { ...found, task }, { initPid: 0, startedAtUnixNano: exit.exitedAtUnixNano }, []);
      }
      recordExit(engine, containerId, exit);
      engine.leftovers.add(containerId);
    }
    const record = repository.get(containerId);
    if (record?.state !== 'exited' || !(record.restarts.pending !== undefined || wantsStartAtBoot(record))) continue;
    repository.save({ container: dueNow(record, now()) });
    log.info({ containerId, name: record.name }, 'the host has booted: a container is started again');
  }
}

function endOf({ files, now }: Engine, { containerId, run }: ContainerRecord): ExitRecord {
  return (
    files.findExit(containerId, run) ?? {
      ...{ run, exitCode: lostExitCode, oomKilled: false, exitedAtUnixNano: now() },
      error: 'the host was restarted while it ran',
    }
  );
}

/** A new beginning, as a start by a user is; but a service that is away then is waited for. */
function dueNow(record: ContainerRecord, now: bigint): ContainerRecord {
  const { byUser = false } = record.restarts.pending ?? {};
  const pauseMs = byUser ? 0 : firstPauseMs;
  return { ...record, restarts: { ...noRestarts, pauseMs, pending: { dueAtUnixNano: now, byUser } } };
}
