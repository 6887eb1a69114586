import process from 'node:process';
import { Command } from 'commander';
import { forEachNamed, withEngine } from '../engine.ts';
import { parseFilters } from '../filters.ts';
import { parsePairs } from '../flags/environment.ts';
import { parseBoolean } from '../flags/number.ts';
import { renderList } from '../format/table.ts';
import { volumeRow } from '../format/volumes.ts';
import { inspect } from './inspect.ts';
import { volumePruneCommand } from './prune.ts';
import { repeated } from './repeated.ts';

interface ListFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
}

interface CreateFlags {
  readonly driver?: string;
  readonly label?: readonly string[];
  readonly opt?: readonly string[];
}

const columns = [
  { field: 'Driver', title: 'DRIVER' },
  { field: 'Name', title: 'VOLUME NAME' },
];

export function volumeCommand(): Command {
  const volume = new Command('volume');
  volume
    .command('ls')
    .alias('list')
    .description('List volumes')
    .option('-f, --filter <key=value>', 'filter by name, label, driver, dangling', repeated)
    .option('--format <format>', 'table, json or a template')
    .option('-q, --quiet', 'names alone')
    .action(listVolumes);
  volume
    .command('create')
    .description('Make a volume')
    .argument('[name]')
    .option('-d, --driver <driver>', 'local')
    .option('--label <key=value>', 'label', repeated)
    .option('-o, --opt <key=value>', 'option of the driver: type, device, o', repeated)
    .action(async (name: string | undefined, { driver = '', label = [], opt = [] }: CreateFlags) => {
      const options = parsePairs('--opt', opt, true);
      const request = { name: name ?? '', driver, options, labels: parsePairs('--label', label) };
      const created = await withEngine((engine) => engine.volumes.createVolume(request));
      process.stdout.write(`${created.volume?.name ?? ''}\n`);
    });
  volume
    .command('rm')
    .alias('remove')
    .description('Remove volumes')
    .argument('<name...>')
    .option('-f, --force', 'one that does not exist is no error')
    .action(async (names: string[], { force = false }: { force?: boolean }) => {
      await withEngine((engine) => forEachNamed(names, (name) => engine.volumes.removeVolume({ name, force })));
    });
  volume
    .command('inspect')
    .description('Everything about volumes, as JSON')
    .argument('<name...>')
    .option('-f, --format <format>', 'json or a template')
    .action((names: string[], { format }: { format?: string }) => inspect(names, ['volume'], format));
  return volume.addCommand(volumePruneCommand().description('Remove volumes that no container uses'));
}

async function listVolumes({ filter, format, quiet }: ListFlags): Promise<void> {
  const filters = parseFilters(filter, ['name', 'label', 'driver', 'dangling']);
  const dangling = filters.get('dangling')?.map((value) => parseBoolean('--filter dangling', value)) ?? [];
  const request = {
    names: filters.get('name') ?? [],
    labels: filters.get('label') ?? [],
    drivers: filters.get('driver') ?? [],
    dangling: dangling.at(-1),
  };
  const { volumes } = await withEngine((engine) => engine.volumes.listVolumes(request));
  const rows = volumes.map(volumeRow);
  process.stdout.write(renderList({ columns, rows, format, quiet: quiet === true ? 'Name' : undefined }));
}
