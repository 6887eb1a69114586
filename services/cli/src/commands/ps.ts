import process from 'node:process';
import { invalidField } from '@flotilla/errors';
import { ContainerState, HealthStatus } from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { parseFilters } from '../filters.ts';
import { parseInteger } from '../flags/number.ts';
import { containerColumns, containerRow } from '../format/containers.ts';
import { renderList } from '../format/table.ts';
import { repeated } from './repeated.ts';

interface PsFlags {
  readonly all?: boolean;
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly last?: string;
  readonly latest?: boolean;
  readonly quiet?: boolean;
  readonly trunc: boolean;
}

const filterKeys = ['id', 'name', 'label', 'status', 'ancestor', 'exited', 'health'];

export function psCommand(): Command {
  return new Command('ps')
    .option('-a, --all', 'those that do not run, too')
    .option('-f, --filter <key=value>', `filter by ${filterKeys.join(', ')}`, repeated)
    .option('--format <format>', 'table, json or a template')
    .option('-n, --last <number>', 'the newest so many, of any state')
    .option('-l, --latest', 'the newest, of any state')
    .option('--no-trunc', 'do not shorten')
    .option('-q, --quiet', 'ids alone')
    .action(listContainers);
}

async function listContainers(flags: PsFlags): Promise<void> {
  const filters = parseFilters(flags.filter, filterKeys);
  const limit = flags.latest === true ? 1 : flags.last === undefined ? 0 : parseInteger('--last', flags.last, -1, 1e6);
  const words = filters.get('status') ?? [];
  const states = words.filter((word) => word !== 'restarting').map(stateOf);
  const exited = (filters.get('exited') ?? []).map((text) => parseInteger('--filter exited', text, 0, 255));
  const { containers } = await withEngine((engine) =>
    engine.containers.listContainers({
      all: flags.all === true || words.length > 0 || exited.length > 0,
      limit: Math.max(limit, 0),
      names: filters.get('name') ?? [],
      containerIds: filters.get('id') ?? [],
      labels: filters.get('label') ?? [],
      states,
      images: filters.get('ancestor') ?? [],
      restarting: words.includes('restarting'),
      health: (filters.get('health') ?? []).map(healthOf),
    }),
  );
  const wanted = containers.filter(
    ({ status }) =>
      exited.length === 0 ||
      (status?.state === 'CONTAINER_STATE_EXITED' && !status.restarting && exited.includes(status.exitCode)),
  );
  const options = { truncate: flags.trunc, nowMs: Date.now() };
  const rows = wanted.map((container) => containerRow(container, options));
  const quiet = flags.quiet === true ? 'ID' : undefined;
  process.stdout.write(renderList({ columns: containerColumns, rows, format: flags.format, quiet }));
}

function stateOf(word: string): ContainerState {
  const state = Object.values(ContainerState).find((one) => one === `CONTAINER_STATE_${word.toUpperCase()}`);
  if (state === undefined || state === 'CONTAINER_STATE_UNSPECIFIED') {
    throw invalidField('--filter status', 'created, running, paused, restarting, exited, …', word);
  }
  return state;
}

function healthOf(word: string): HealthStatus {
  if (word === 'none') return 'HEALTH_STATUS_UNSPECIFIED';
  const status = Object.values(HealthStatus).find((one) => one === `HEALTH_STATUS_${word.toUpperCase()}`);
  if (status === undefined || status === 'HEALTH_STATUS_UNSPECIFIED') {
    throw invalidField('--filter health', 'none, starting, healthy or unhealthy', word);
  }
  return status;
}
