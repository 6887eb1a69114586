import { Command } from 'commander';
import { inspect } from './inspect.ts';
import { containerPruneCommand, imagePruneCommand, systemPruneCommand } from './prune.ts';
import { systemDfCommand } from './system-df.ts';

/** What is known of commands without loading them. */
export interface LoadableCommand {
  readonly name: string;
  readonly description: string;
  readonly load: () => Promise<Command>;
}

const imageVerbs = ['history', 'import', 'load', 'pull', 'push', 'save', 'tag'];
const containerVerbs = (
  'attach commit cp create diff exec explain export kill logs pause port rename restart rm run start stats stop top ' +
  'unpause update wait'
).split(' ');

/** `image ls`, `image pull`, …: the commands on images, and `prune`. */
export async function imageGroup(table: readonly LoadableCommand[]): Promise<Command> {
  const group = new Command('image');
  await addVerbs(group, table, imageVerbs);
  await addAs(group, table, 'images', 'ls', 'list');
  await addAs(group, table, 'rmi', 'rm', 'remove');
  return group
    .addCommand(inspectOf('image'))
    .addCommand(imagePruneCommand().description('Remove images that nothing uses'));
}

/** `container ls`, `container run`, …: the commands on containers, and `prune`. */
export async function containerGroup(table: readonly LoadableCommand[]): Promise<Command> {
  const group = new Command('container').enablePositionalOptions();
  await addVerbs(group, table, containerVerbs);
  await addAs(group, table, 'ps', 'ls', 'ps', 'list');
  return group
    .addCommand(inspectOf('container'))
    .addCommand(containerPruneCommand().description('Remove containers that do not run'));
}

/** `system df`, `system prune`, `system events`, `system info`. */
export async function systemGroup(table: readonly LoadableCommand[]): Promise<Command> {
  const group = new Command('system');
  await addVerbs(group, table, ['events', 'info']);
  return group
    .addCommand(systemDfCommand().description('Show what is used on disk'))
    .addCommand(systemPruneCommand().description('Remove what nothing uses'));
}

async function addVerbs(group: Command, table: readonly LoadableCommand[], names: readonly string[]): Promise<void> {
  const entries = table.filter(({ name }) => names.includes(name));
  const commands = await Promise.all(entries.map(({ load }) => load()));
  for (const [index, command] of commands.entries())
    group.addCommand(command.description(entries[index]?.description ?? ''));
}

async function addAs(
  group: Command,
  table: readonly LoadableCommand[],
  name: string,
  as: string,
  ...aliases: readonly string[]
): Promise<void> {
  const entry = table.find((one) => one.name === name);
  if (entry === undefined) throw new Error(`there is no command ${name}`);
  const command = (await entry.load()).name(as).description(entry.description);
  for (const alias of aliases) command.alias(alias);
  group.addCommand(command);
}

function inspectOf(type: string): Command {
  return new Command('inspect')
    .description('Show everything, as JSON')
    .argument('<name...>')
    .option('-f, --format <format>', 'json or a template')
    .action((names: string[], { format }: { format?: string }) => inspect(names, [type], format));
}
