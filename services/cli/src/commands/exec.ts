import process from 'node:process';
import { hasReason } from '@flotilla/errors';
import { CreateExecRequest, type ExecConfig } from '@flotilla/proto/flotilla/v1/exec';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { complain, ExitRequest, exitCodeOf, exitCodes, isUsage } from '../failure.ts';
import { parseEnv, parseEnvFile } from '../flags/environment.ts';
import { execSession } from '../streams/exec-session.ts';
import { requireTerminal, windowSize } from '../streams/terminal.ts';
import { clientHost } from './create-container.ts';
import { repeated } from './repeated.ts';

interface ExecFlags {
  readonly detach?: boolean;
  readonly detachKeys?: string;
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
  readonly interactive?: boolean;
  readonly privileged?: boolean;
  readonly tty?: boolean;
  readonly user?: string;
  readonly workdir?: string;
}

export function execCommand(): Command {
  return new Command('exec')
    .argument('<container>')
    .argument('<command...>')
    .option('-d, --detach', 'run in the background')
    .option('--detach-keys <keys>', 'keys that detach: ctrl-p,ctrl-q')
    .option('-e, --env <name=value>', 'environment variable', repeated)
    .option('--env-file <path>', 'file of environment variables', repeated)
    .option('-i, --interactive', 'keep standard input open')
    .option('--privileged', 'all capabilities')
    .option('-t, --tty', 'a terminal')
    .option('-u, --user <user>', 'user or uid, with an optional :group')
    .option('-w, --workdir <path>', 'working directory')
    .passThroughOptions()
    .action(async (container: string, command: string[], flags: ExecFlags) => {
      throw new ExitRequest(await exec(container, command, flags));
    });
}

async function exec(container: string, command: readonly string[], flags: ExecFlags): Promise<number> {
  try {
    const stdin = flags.interactive === true && flags.detach !== true;
    const tty = flags.tty === true;
    requireTerminal(tty, stdin);
    const { readFile } = clientHost();
    const config: Partial<ExecConfig> = {
      command: [...command],
      env: [
        ...(flags.envFile ?? []).flatMap((path) => parseEnvFile(path, readFile(path), process.env)),
        ...(flags.env ?? []).map((text) => parseEnv(text, process.env)),
      ],
      user: flags.user ?? '',
      workingDir: flags.workdir ?? '',
      tty,
      stdin,
      privileged: flags.privileged === true,
      detachKeys: flags.detachKeys ?? '',
    };
    const size = tty ? windowSize() : undefined;
    if (size !== undefined) config.size = { ...size };
    return await withEngine(async (engine) => {
      const { execId } = await engine.execs.createExec(CreateExecRequest.fromPartial({ container, config }));
      return await execSession(engine, execId, { stdin, tty, detach: flags.detach === true });
    });
  } catch (error) {
    complain(error);
    if (isUsage(error)) return exitCodes.engine;
    const cannotRun = startReasons.some((reason) => hasReason(error, reason));
    return exitCodeOf(error, cannotRun ? exitCodes.notExecutable : exitCodes.failed);
  }
}

/** What keeps a command that is there from being run. */
const startReasons = ['USER_NOT_FOUND', 'GROUP_NOT_FOUND', 'WORKING_DIR_INVALID'];
