import process from 'node:process';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { renderTable } from '../format/table.ts';

export function topCommand(): Command {
  return new Command('top')
    .argument('<container>')
    .argument('[ps-options...]', 'of ps(1); -ef when absent')
    .passThroughOptions()
    .action(async (container: string, psArgs: string[]) => {
      const { titles, rows } = await withEngine((engine) => engine.containers.listProcesses({ container, psArgs }));
      process.stdout.write(renderTable([titles, ...rows.map(({ values }) => values)]));
    });
}
