import { type Engine, retryWhileUnavailable } from '@flotilla/client';
import { invalidField } from '@flotilla/errors';
import { Command } from 'commander';
import { forEachNamed, withEngine } from '../engine.ts';
import { ExitRequest } from '../failure.ts';
import { attachedSession } from '../streams/attached-session.ts';
import { requireTerminal } from '../streams/terminal.ts';

interface StartFlags {
  readonly attach?: boolean;
  readonly interactive?: boolean;
  readonly detachKeys?: string;
  readonly sigProxy?: boolean;
}

export function startCommand(): Command {
  return new Command('start')
    .argument('<container...>')
    .option('-a, --attach', 'attach to its output and pass signals on')
    .option('-i, --interactive', 'attach to its input too')
    .option('--detach-keys <keys>', 'keys that detach: ctrl-p,ctrl-q')
    .option('--sig-proxy', 'pass signals on (the default)')
    .option('--no-sig-proxy', 'do not pass signals on')
    .action(async (names: string[], flags: StartFlags) => {
      await withEngine(async (engine) => {
        if (flags.attach !== true && flags.interactive !== true) {
          await forEachNamed(names, (container) => start(engine, container));
          return;
        }
        const [name, ...more] = names;
        if (name === undefined || more.length > 0) throw invalidField('--attach', 'given with one container alone');
        throw new ExitRequest(await startAttached(engine, name, flags));
      });
    });
}

async function start(engine: Engine, container: string): Promise<void> {
  const known = await retryWhileUnavailable(() => engine.containers.getContainer({ container }));
  const afterRun = known.container?.status?.run ?? 0n;
  await retryWhileUnavailable(() => engine.containers.startContainer({ container, afterRun }, { deadlineMs: 60_000 }), {
    onlyLost: true,
  });
}

async function startAttached(engine: Engine, name: string, flags: StartFlags): Promise<number> {
  const { container } = await engine.containers.getContainer({ container: name });
  const { containerId = name, config, status } = container ?? {};
  const tty = config?.tty === true;
  const stdin = flags.interactive === true && config?.openStdin === true;
  requireTerminal(tty, stdin, 'leave -i out');
  const running = (status?.initPid ?? 0) !== 0;
  return attachedSession(engine, {
    containerId,
    tty,
    stdin,
    stdinOnce: config?.stdinOnce === true,
    stdout: true,
    stderr: !tty,
    detachKeys: flags.detachKeys ?? '',
    sigProxy: flags.sigProxy !== false && !tty,
    afterRun: (status?.run ?? 0n) - (running ? 1n : 0n),
    autoRemove: config?.autoRemove === true,
    begin: () => start(engine, containerId),
  });
}
