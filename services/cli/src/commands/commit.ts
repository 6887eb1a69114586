import process from 'node:process';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { repeated } from './repeated.ts';

interface CommitFlags {
  readonly author?: string;
  readonly change?: readonly string[];
  readonly message?: string;
  readonly pause?: boolean;
}

export function commitCommand(): Command {
  return new Command('commit')
    .argument('<container>')
    .argument('[reference]')
    .option('-a, --author <author>', 'who made it')
    .option('-c, --change <instruction>', 'Dockerfile instruction for the image: CMD, ENV, …', repeated)
    .option('-m, --message <text>', 'comment of its history')
    .option('-p, --pause', 'freeze the container while its files are read (default)')
    .option('--no-pause', 'read the files while they may change')
    .action(async (container: string, reference: string | undefined, flags: CommitFlags) => {
      const { author = '', change = [], message: comment = '', pause = true } = flags;
      const request = {
        ...{ container, author, comment },
        reference: reference ?? '',
        changes: [...change],
        pause,
      };
      const patient = { deadlineMs: Number.POSITIVE_INFINITY };
      const { imageId } = await withEngine((engine) => engine.containers.commitContainer(request, patient));
      process.stdout.write(`${imageId}\n`);
    });
}
