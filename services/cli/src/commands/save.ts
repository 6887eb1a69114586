import { retryWhileUnavailable } from '@flotilla/client';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { openArchiveOutput } from '../streams/archive-output.ts';

export function saveCommand(): Command {
  return new Command('save')
    .argument('<image...>')
    .option('-o, --output <file>', 'write to a file instead of standard output')
    .action(async (references: string[], { output }: { output?: string }) => {
      await withEngine(async (engine) => {
        await using archive = await openArchiveOutput(output);
        await retryWhileUnavailable(
          async () => {
            archive.startAgain();
            for await (const { chunk } of engine.images.saveImages({ references })) await archive.write(chunk);
          },
          { onlyLost: true },
        );
        await archive.finish();
      });
    });
}
