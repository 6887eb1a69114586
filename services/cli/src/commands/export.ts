import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { openArchiveOutput } from '../streams/archive-output.ts';

export function exportCommand(): Command {
  return new Command('export')
    .argument('<container>')
    .option('-o, --output <file>', 'instead of standard output')
    .action(async (container: string, { output: path }: { output?: string }) => {
      await using output = await openArchiveOutput(path);
      await withEngine(async (engine) => {
        for await (const { chunk } of engine.containers.exportContainer({ container })) await output.write(chunk);
      });
      await output.finish();
    });
}
