import { readFileSync } from 'node:fs';
import process from 'node:process';
import type { Engine } from '@flotilla/client';
import { CreateExecRequest, type ExecConfig } from '@flotilla/proto/flotilla/v1/exec';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { complain, ExitRequest, exitCodeOf, exitCodes } from '../failure.ts';
import { parseEnv, parseEnvFile } from '../flags/environment.ts';
import { ClientInput } from '../streams/client-input.ts';
import { writeOutput } from '../streams/output.ts';
import { rawTerminal, requireTerminal, windowSize } from '../streams/terminal.ts';
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
    const config: Partial<ExecConfig> = {
      command: [...command],
      env: [
        ...(flags.envFile ?? []).flatMap((path) => parseEnvFile(path, readFileSync(path, 'utf8'), process.env)),
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
      return await carry(engine, execId, { stdin, tty, detach: flags.detach === true });
    });
  } catch (error) {
    complain(error);
    return exitCodeOf(error, exitCodes.failed);
  }
}

interface CarryOptions {
  readonly stdin: boolean;
  readonly tty: boolean;
  readonly detach: boolean;
}

/** Starts the exec and carries its streams; returns its exit code. */
async function carry(engine: Engine, execId: string, { stdin, tty, detach }: CarryOptions): Promise<number> {
  using input = new ClientInput({ stdin, resize: tty && !detach });
  const first = { $case: 'start' as const, value: { execId, detach } };
  const stack = new DisposableStack();
  try {
    for await (const { message } of engine.execs.startExec(input.messages(first))) {
      if (message?.$case === 'started' && detach) return 0;
      if (message?.$case === 'started') stack.use(await rawTerminal(tty && stdin));
      if (message?.$case === 'output') await writeOutput(message.value);
      if (message?.$case === 'exited') return message.value.detached ? 0 : message.value.exitCode;
    }
  } finally {
    stack.dispose();
  }
  return exitCodes.failed;
}
