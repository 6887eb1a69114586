import process from 'node:process';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import {
  containerUsageColumns,
  detailedUsage,
  imageUsageColumns,
  summaryColumns,
  summaryRows,
  volumeUsageColumns,
} from '../format/disk-usage.ts';
import { type Column, type Row, renderList } from '../format/table.ts';
import { fillTemplate } from '../format/template.ts';

interface DfFlags {
  readonly format?: string;
  readonly verbose?: boolean;
}

export function systemDfCommand(): Command {
  return new Command('df')
    .option('--format <format>', 'table, json or a template')
    .option('-v, --verbose', 'each image, container and volume')
    .action(async ({ format, verbose = false }: DfFlags) => {
      process.stdout.write(verbose ? await showDetails(format) : await showSummary(format));
    });
}

/** The owners look at every file. */
const patient = { deadlineMs: Number.POSITIVE_INFINITY };

async function showSummary(format: string | undefined): Promise<string> {
  const usage = await withEngine((engine) => engine.system.getDiskUsage({}, patient));
  return renderList({ columns: summaryColumns, rows: summaryRows(usage), format });
}

async function showDetails(format: string | undefined): Promise<string> {
  const found = await withEngine(async (engine) => {
    const [usage, { images }, { containers }, { volumes }] = await Promise.all([
      engine.system.getDiskUsage({}, patient),
      engine.images.listImages({ references: [], labels: [], dangling: true }),
      engine.containers.listContainers({ ...anyContainer, all: true }),
      engine.volumes.listVolumes({ names: [], labels: [], drivers: [] }),
    ]);
    return { usage, images, containers, volumes };
  });
  const details = detailedUsage(found, Date.now());
  if (format === 'json') return `${JSON.stringify(details)}\n`;
  if (format !== undefined && format !== 'table') return `${fillTemplate(format, details)}\n`;
  const section = (title: string, columns: readonly Column[], rows: readonly Row[]) =>
    `${title} space usage:\n\n${renderList({ columns, rows })}`;
  return [
    section('Images', imageUsageColumns, details.Images),
    section('Containers', containerUsageColumns, details.Containers),
    section('Local Volumes', volumeUsageColumns, details.Volumes),
  ].join('\n');
}

const anyContainer = {
  limit: 0,
  names: [],
  containerIds: [],
  labels: [],
  states: [],
  images: [],
  restarting: false,
  health: [],
};
