import { FlotillaError } from '@flotilla/errors';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { ExitRequest } from '../failure.ts';
import { stateWord } from '../format/containers.ts';
import { attachedSession } from '../streams/attached-session.ts';
import { requireTerminal } from '../streams/terminal.ts';

interface AttachFlags {
  readonly stdin: boolean;
  readonly detachKeys?: string;
  readonly sigProxy?: boolean;
}

export function attachCommand(): Command {
  return new Command('attach')
    .argument('<container>')
    .option('--no-stdin', 'do not send input')
    .option('--detach-keys <keys>', 'keys that detach: ctrl-p,ctrl-q')
    .option('--sig-proxy', 'pass signals on (the default)')
    .option('--no-sig-proxy', 'do not pass signals on')
    .action(async (name: string, flags: AttachFlags) => {
      throw new ExitRequest(await attach(name, flags));
    });
}

async function attach(name: string, flags: AttachFlags): Promise<number> {
  return withEngine(async (engine) => {
    const { container } = await engine.containers.getContainer({ container: name });
    const { containerId = name, config, status } = container ?? {};
    const restarting = status?.restarting === true;
    const state = restarting ? 'restarting' : stateWord(status?.state ?? 'CONTAINER_STATE_UNSPECIFIED');
    if ((status?.initPid ?? 0) === 0) {
      const advice = restarting ? 'wait until it runs' : 'start it first';
      throw new FlotillaError('failed_precondition', `container ${name} is ${state}: ${advice}`, {
        reason: 'CONTAINER_NOT_RUNNING',
        metadata: { container: name, state },
      });
    }
    const tty = config?.tty === true;
    const stdin = flags.stdin && config?.openStdin === true;
    requireTerminal(tty, stdin, 'use --no-stdin');
    return attachedSession(engine, {
      containerId,
      tty,
      stdin,
      stdinOnce: config?.stdinOnce === true,
      stdout: true,
      stderr: !tty,
      detachKeys: flags.detachKeys ?? '',
      sigProxy: flags.sigProxy !== false && !tty,
      afterRun: (status?.run ?? 1n) - 1n,
      autoRemove: config?.autoRemove === true,
    });
  });
}
