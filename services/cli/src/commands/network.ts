import process from 'node:process';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { parseFilters } from '../filters.ts';
import { shortId } from '../format/human.ts';
import { renderList } from '../format/table.ts';
import { inspect } from './inspect.ts';
import { repeated } from './repeated.ts';

interface ListFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
  readonly trunc: boolean;
}

const columns = [
  { field: 'ID', title: 'NETWORK ID' },
  { field: 'Name', title: 'NAME' },
  { field: 'Driver', title: 'DRIVER' },
  { field: 'Subnets', title: 'SUBNETS' },
];

export function networkCommand(): Command {
  const network = new Command('network');
  network
    .command('ls')
    .alias('list')
    .description('List networks')
    .option('-f, --filter <key=value>', 'filter by name, driver, label', repeated)
    .option('--format <format>', 'table, json or a template')
    .option('--no-trunc', 'do not shorten')
    .option('-q, --quiet', 'ids alone')
    .action(listNetworks);
  network
    .command('inspect')
    .description('Everything about networks, as JSON')
    .argument('<name...>')
    .option('-f, --format <format>', 'json or a template')
    .action((names: string[], { format }: { format?: string }) => inspect(names, ['network'], format));
  return network;
}

async function listNetworks({ filter, format, quiet, trunc }: ListFlags): Promise<void> {
  const filters = parseFilters(filter, ['name', 'driver', 'label']);
  const request = {
    names: filters.get('name') ?? [],
    drivers: filters.get('driver') ?? [],
    labels: filters.get('label') ?? [],
  };
  const { networks } = await withEngine((engine) => engine.networks.listNetworks(request));
  const rows = networks.map(({ networkId, name, driver, subnets, internal }) => ({
    ID: trunc ? shortId(networkId) : networkId,
    Name: name,
    Driver: driver,
    Subnets: subnets.map(({ cidr }) => cidr).join(','),
    Internal: String(internal),
  }));
  process.stdout.write(renderList({ columns, rows, format, quiet: quiet === true ? 'ID' : undefined }));
}
