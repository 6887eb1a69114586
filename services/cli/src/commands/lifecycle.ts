import process from 'node:process';
import { type Engine, retryWhileUnavailable } from '@flotilla/client';
import { hasReason } from '@flotilla/errors';
import type { WaitContainerResponse } from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { forEachNamed, withEngine } from '../engine.ts';
import { complain, ExitRequest, exitCodes } from '../failure.ts';
import { parseInteger } from '../flags/number.ts';

/** For calls that wait for a container: they may take as long as it does. */
const patient = { deadlineMs: Number.POSITIVE_INFINITY };

interface StopFlags {
  readonly time?: string;
  readonly timeout?: string;
  readonly signal?: string;
}

function stopOptions({ time, timeout, signal = '' }: StopFlags) {
  const text = timeout ?? time;
  return {
    signal,
    ...(text === undefined ? {} : { timeoutSeconds: parseInteger('--timeout', text, -1, 0x7fff_ffff) }),
  };
}

function stopLike(name: string): Command {
  return new Command(name)
    .argument('<container...>')
    .option('-s, --signal <signal>', "instead of the container's stop signal")
    .option('-t, --timeout <seconds>', 'time before it is killed; -1 for ever')
    .option('--time <seconds>', 'the same, as older clients say it');
}

export function stopCommand(): Command {
  return stopLike('stop').action(async (names: string[], flags: StopFlags) => {
    const options = stopOptions(flags);
    await withEngine((engine) =>
      forEachNamed(names, (container) => engine.containers.stopContainer({ container, ...options }, patient)),
    );
  });
}

export function restartCommand(): Command {
  return stopLike('restart').action(async (names: string[], flags: StopFlags) => {
    const options = stopOptions(flags);
    await withEngine((engine) =>
      forEachNamed(names, (container) => engine.containers.restartContainer({ container, ...options }, patient)),
    );
  });
}

export function killCommand(): Command {
  return new Command('kill')
    .argument('<container...>')
    .option('-s, --signal <signal>', 'SIGKILL when absent')
    .action(async (names: string[], { signal = '' }: StopFlags) => {
      await withEngine((engine) =>
        forEachNamed(names, (container) => engine.containers.killContainer({ container, signal })),
      );
    });
}

export function pauseCommand(): Command {
  return new Command('pause').argument('<container...>').action(async (names: string[]) => {
    await withEngine((engine) => forEachNamed(names, (container) => engine.containers.pauseContainer({ container })));
  });
}

export function unpauseCommand(): Command {
  return new Command('unpause').argument('<container...>').action(async (names: string[]) => {
    await withEngine((engine) => forEachNamed(names, (container) => engine.containers.unpauseContainer({ container })));
  });
}

export function renameCommand(): Command {
  return new Command('rename')
    .argument('<container>')
    .argument('<new-name>')
    .action(async (container: string, name: string) => {
      await withEngine((engine) => engine.containers.renameContainer({ container, name }));
    });
}

export function rmCommand(): Command {
  return new Command('rm')
    .argument('<container...>')
    .option('-f, --force', 'kill it first')
    .option('-v, --volumes', 'remove its anonymous volumes too')
    .action(async (names: string[], { force = false, volumes = false }: { force?: boolean; volumes?: boolean }) => {
      await withEngine((engine) =>
        forEachNamed(
          names,
          (container) => engine.containers.removeContainer({ container, force, removeVolumes: volumes }, patient),
          // As with Docker and with rm(1): what is gone already is no failure of a removal by force.
          (error) => force && hasReason(error, 'CONTAINER_NOT_FOUND'),
        ),
      );
    });
}

export function waitCommand(): Command {
  return new Command('wait').argument('<container...>').action(async (names: string[]) => {
    await withEngine(async (engine) => {
      const results = await Promise.allSettled(names.map((container) => waitForEnd(engine, container)));
      for (const result of results) {
        if (result.status === 'fulfilled') process.stdout.write(`${result.value.exitCode}\n`);
        else complain(result.reason);
      }
      if (results.some(({ status }) => status === 'rejected')) throw new ExitRequest(exitCodes.failed);
    });
  });
}

/** The end of the run under way, also when the engine is restarted meanwhile and its restart policy has begun another. */
async function waitForEnd(engine: Engine, container: string): Promise<WaitContainerResponse> {
  const { container: found } = await retryWhileUnavailable(() => engine.containers.getContainer({ container }));
  const { run = 0n, state } = found?.status ?? {};
  const ended = state === 'CONTAINER_STATE_EXITED' || run === 0n;
  const request = {
    container: found?.containerId ?? container,
    condition: 'WAIT_CONDITION_NOT_RUNNING' as const,
    afterRun: ended ? run : run - 1n,
  };
  return await retryWhileUnavailable(() => engine.containers.waitContainer(request, patient));
}
