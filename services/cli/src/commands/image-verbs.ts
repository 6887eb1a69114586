import process from 'node:process';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { complain, ExitRequest, exitCodes } from '../failure.ts';

export function rmiCommand(): Command {
  return new Command('rmi')
    .argument('<image...>')
    .option('-f, --force', 'an id with several references, too')
    .action(async (names: string[], { force = false }: { force?: boolean }) => {
      await withEngine(async (engine) => {
        let failed = false;
        // One after the other: two references may be of one image, which goes with its last one.
        for (const image of names) {
          try {
            const { untagged, deleted } = await engine.images.removeImage({ image, force }, { deadlineMs: 60_000 });
            for (const reference of untagged) process.stdout.write(`Untagged: ${reference}\n`);
            for (const id of deleted) process.stdout.write(`Deleted: ${id}\n`);
          } catch (error) {
            complain(error);
            failed = true;
          }
        }
        if (failed) throw new ExitRequest(exitCodes.failed);
      });
    });
}

export function tagCommand(): Command {
  return new Command('tag')
    .argument('<image>')
    .argument('<reference>')
    .action(async (image: string, reference: string) => {
      await withEngine((engine) => engine.images.tagImage({ image, reference }));
    });
}
