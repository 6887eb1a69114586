import process from 'node:process';
import { type Engine, retryWhileUnavailable } from '@flotilla/client';
import { hasReason, invalidField } from '@flotilla/errors';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { complain, ExitRequest, exitCodeOf, exitCodes } from '../failure.ts';
import { addContainerFlags, type ContainerFlags } from '../flags/container-flags.ts';
import { attachedSession } from '../streams/attached-session.ts';
import { requireTerminal } from '../streams/terminal.ts';
import { createContainer, createRequest } from './create-container.ts';

export interface RunFlags extends ContainerFlags {
  readonly detach?: boolean;
  readonly detachKeys?: string;
  readonly sigProxy?: boolean;
}

export function runCommand(): Command {
  return addContainerFlags(new Command('run'))
    .argument('<image>')
    .argument('[command...]')
    .option('-d, --detach', 'run in the background, print the id')
    .option('--detach-keys <keys>', 'keys that detach: ctrl-p,ctrl-q')
    .option('--sig-proxy', 'pass signals on (the default)')
    .option('--no-sig-proxy', 'do not pass signals on')
    .passThroughOptions()
    .action(async (image: string, command: string[], flags: RunFlags) => {
      throw new ExitRequest(await run(image, command, flags));
    });
}

/** Returns the exit code: the container's own, or one of Docker's when it could not run. */
async function run(image: string, command: readonly string[], flags: RunFlags): Promise<number> {
  try {
    const streams = attachedStreams(flags);
    requireTerminal(flags.tty === true && flags.detach !== true, streams.stdin);
    const request = createRequest(image, command, flags, streams.stdin);
    return await withEngine(async (engine) => {
      const { containerId } = await createContainer(engine, request, flags);
      const begin = () => start(engine, containerId, flags.rm === true);
      if (flags.detach === true || !(streams.stdin || streams.stdout || streams.stderr)) {
        await begin();
        process.stdout.write(`${containerId}\n`);
        return 0;
      }
      return await attachedSession(engine, {
        containerId,
        tty: flags.tty === true,
        ...streams,
        stdinOnce: true,
        detachKeys: flags.detachKeys ?? '',
        sigProxy: flags.sigProxy !== false,
        afterRun: 0n,
        autoRemove: flags.rm === true,
        begin,
      });
    });
  } catch (error) {
    complain(error);
    return exitCodeOf(error, exitCodes.engine);
  }
}

/** Starts it; a container that cannot start and would remove itself is removed here, where it is known to be unwanted. */
async function start(engine: Engine, container: string, remove: boolean): Promise<void> {
  try {
    await retryWhileUnavailable(
      () => engine.containers.startContainer({ container, afterRun: 0n }, { deadlineMs: 60_000 }),
      {
        onlyLost: true,
      },
    );
  } catch (error) {
    if (remove) {
      await engine.containers
        .removeContainer({ container, force: true, removeVolumes: true })
        .catch((failed: unknown) => {
          if (!hasReason(failed, 'CONTAINER_NOT_FOUND')) complain(failed);
        });
    }
    throw error;
  }
}

/** Which streams the client takes part in: those of `--attach`, else output, and input with `-i`. */
export function attachedStreams({ attach, detach, interactive, tty }: RunFlags) {
  if (detach === true) {
    if (attach !== undefined) throw invalidField('--detach', 'given without --attach');
    return { stdin: false, stdout: false, stderr: false };
  }
  if (attach === undefined) return { stdin: interactive === true, stdout: true, stderr: tty !== true };
  const names = attach.map((name) => name.toLowerCase());
  const wrong = names.find((name) => !['stdin', 'stdout', 'stderr'].includes(name));
  if (wrong !== undefined) throw invalidField('--attach', 'stdin, stdout or stderr', wrong);
  return {
    stdin: interactive === true, // as Docker has it: with -i, whatever --attach says
    stdout: names.includes('stdout'),
    stderr: names.includes('stderr'),
  };
}
