import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { writeArchive } from '../streams/write-archive.ts';

export function exportCommand(): Command {
  return new Command('export')
    .argument('<container>')
    .option('-o, --output <file>', 'instead of standard output')
    .action(async (container: string, { output }: { output?: string }) => {
      await withEngine((engine) => writeArchive(output, () => engine.containers.exportContainer({ container })));
    });
}
