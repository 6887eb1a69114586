import process from 'node:process';
import { Command, CommanderError } from 'commander';
import { commandTable } from './command-table.ts';
import { complain, ExitRequest, exitCodeOf, exitCodes, isUsage } from './failure.ts';
import { normaliseArguments } from './flags/normalise-arguments.ts';

/** Runs the command line; ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<never> {
  // The reader of a pipe went away: there is nobody to tell.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 141 : 1));
  const exitCode = await runCommandLine(argv);
  // A slow reader's pipe may have no room for the last of the output yet; process.exit would throw it away.
  await Promise.all([flush(process.stdout), flush(process.stderr)]);
  process.exit(exitCode);
}

async function flush(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength > 0) await new Promise((resolve) => stream.write('', resolve));
}

/** Runs the command line and says with which exit code it ends. */
export async function runCommandLine(argv: readonly string[]): Promise<number> {
  try {
    const { program, args } = await buildProgram(argv);
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof ExitRequest) return error.exitCode;
    if (error instanceof CommanderError) return usageExitCode(error);
    complain(error);
    return exitCodeOf(error, isUsage(error) ? exitCodes.engine : exitCodes.failed);
  }
}

/** As Docker has it: 1 for too few or too many arguments and for an unknown command, 125 for flags. */
function usageExitCode({ exitCode, code }: CommanderError): number {
  if (exitCode === 0) return 0;
  return aboutArguments.has(code) ? exitCodes.failed : exitCodes.engine;
}

const aboutArguments = new Set(['commander.missingArgument', 'commander.excessArguments', 'commander.unknownCommand']);

/** All commands by name and description, but code only for the one that is asked for. */
async function buildProgram(argv: readonly string[]): Promise<{ program: Command; args: string[] }> {
  const program = new Command('flotilla')
    .description('Runs containers on an engine that may be restarted piece by piece')
    .usage('[options] command')
    .option('-H, --host <address>', 'engine to talk to: unix:///path/api.sock')
    .option('-v, --version', 'print the version of this client')
    .helpOption('--help', 'show this help')
    .helpCommand('help [command]', 'show help of a command')
    .enablePositionalOptions()
    .showSuggestionAfterError(true)
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) })
    .exitOverride();
  program.hook('preAction', () => useHost(program.opts<{ host?: string }>().host));
  const at = commandIndex(argv);
  // With an action of its own the program would take an unknown command for an argument.
  if (argv[at] === undefined) {
    program.action(async () => {
      if (program.opts<{ version?: boolean }>().version !== true) program.help();
      const { clientVersion } = await import('./commands/version.ts');
      process.stdout.write(`flotilla ${clientVersion()}\n`);
    });
  }
  const chosen = argv[at] === 'help' ? argv[at + 1] : argv[at];
  let args = [...argv];
  for (const { name, description, load } of commandTable) {
    if (name !== chosen) {
      program.addCommand(new Command(name).description(description));
      continue;
    }
    const command = (await load()).description(description);
    prepare(command);
    program.addCommand(command);
    if (argv[at] === name) args = [...argv.slice(0, at + 1), ...normalise(command, argv.slice(at + 1))];
  }
  return { program, args };
}

/** Settings that a sub-command does not inherit when it is added whole. */
function prepare(command: Command): void {
  command
    .helpOption('--help', 'show this help')
    .showSuggestionAfterError(true)
    .configureOutput({ outputError: (text, write) => write(oneLine(text)) })
    .exitOverride();
  for (const child of command.commands) prepare(child);
}

function normalise(command: Command, args: readonly string[]): string[] {
  const child = command.commands.find((one) => one.name() === args[0] || one.aliases().includes(args[0] ?? ''));
  if (child !== undefined) return [args[0] ?? '', ...normalise(child, args.slice(1))];
  // Commander does not say whether a command passes options through, so the table does.
  return normaliseArguments(command, args, passesThrough.has(command.name()));
}

const passesThrough = new Set(['run', 'create', 'exec', 'top']);

/** Where the command stands, behind the program's own options. */
function commandIndex(argv: readonly string[]): number {
  let index = 0;
  while (argv[index]?.startsWith('-')) index += argv[index] === '-H' || argv[index] === '--host' ? 2 : 1;
  return index;
}

function useHost(host: string | undefined): void {
  if (host !== undefined) process.env.FLOTILLA_HOST = host;
}

/** `flotilla: unknown option '--nmae' (Did you mean --name?)`. */
function oneLine(text: string): string {
  return `flotilla: ${text
    .replace(/^error: /, '')
    .trim()
    .replace(/\s*\n\s*/g, ' ')}\n`;
}
