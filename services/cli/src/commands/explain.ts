import process from 'node:process';
import type { ExplainSection } from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { colour } from '../format/colours.ts';
import { toProtoJson } from '../format/proto-json.ts';

export function explainCommand(): Command {
  return new Command('explain')
    .argument('<container>')
    .option('--format <format>', 'json')
    .action(async (container: string, { format }: { format?: string }) => {
      const explained = await withEngine((engine) => engine.containers.explainContainer({ container }));
      if (format === 'json') {
        process.stdout.write(`${JSON.stringify(toProtoJson(explained))}\n`);
        return;
      }
      process.stdout.write(explained.sections.map(formatSection).join('\n'));
    });
}

const widestName = 28;
const widestValue = 60;

/** A chapter: its head, then facts in columns, each with the file or call it was read from. */
export function formatSection({ title, rows }: ExplainSection): string {
  const widest = (texts: readonly string[], limit: number) =>
    Math.max(...texts.map(({ length }) => length).filter((length) => length <= limit), 0);
  const nameWidth = widest(
    rows.map(({ name }) => name),
    widestName,
  );
  const valueWidth = widest(
    rows.map(({ value }) => value.split('\n', 1)[0] ?? ''),
    widestValue,
  );
  const lines = rows.map(({ name, value, source }) => {
    const [first = '', ...more] = value.split('\n');
    const origin = source === '' ? '' : `  ${colour('dim', source)}`;
    const rest = more.map((line) => `  ${' '.repeat(nameWidth)}  ${line}\n`);
    return `  ${name.padEnd(nameWidth)}  ${origin === '' ? first : first.padEnd(valueWidth)}${origin}\n${rest.join('')}`;
  });
  return `${colour(['bold', 'cyan'], title)}\n${lines.join('')}`;
}
