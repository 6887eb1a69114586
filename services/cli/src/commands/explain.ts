import process from 'node:process';
import { ExplainContainerResponse, type ExplainSection } from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { colour } from '../format/colours.ts';

export function explainCommand(): Command {
  return new Command('explain')
    .argument('<container>')
    .option('--format <format>', 'json')
    .action(async (container: string, { format }: { format?: string }) => {
      const explained = await withEngine((engine) => engine.containers.explainContainer({ container }));
      if (format === 'json') {
        process.stdout.write(`${JSON.stringify(ExplainContainerResponse.toJSON(explained))}\n`);
        return;
      }
      process.stdout.write(explained.sections.map(formatSection).join('\n'));
    });
}

/** A chapter: its head, then facts in columns, each with the file or call it was read from. */
function formatSection({ title, rows }: ExplainSection): string {
  const nameWidth = Math.min(Math.max(...rows.map(({ name }) => name.length), 0), 28);
  const valueWidth = Math.min(Math.max(...rows.map(({ value }) => value.length), 0), 60);
  const lines = rows.map(({ name, value, source }) => {
    const origin = source === '' ? '' : `  ${colour('dim', source)}`;
    return `  ${name.padEnd(nameWidth)}  ${origin === '' ? value : value.padEnd(valueWidth)}${origin}\n`;
  });
  return `${colour(['bold', 'cyan'], title)}\n${lines.join('')}`;
}
