import process from 'node:process';
import { invalidField } from '@flotilla/errors';
import { ImportImageOptions, type ImportImageRequest } from '@flotilla/proto/flotilla/v1/image';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { parseChanges } from '../flags/changes.ts';
import { openArchive } from '../streams/archive-chunks.ts';
import { openProgress } from '../streams/progress.ts';
import { repeated } from './repeated.ts';

interface ImportFlags {
  readonly change?: readonly string[];
  readonly message?: string;
  readonly platform?: string;
  readonly quiet?: boolean;
}

export function importCommand(): Command {
  return new Command('import')
    .argument('<file>', 'a tar file, or - for standard input')
    .argument('[reference]')
    .option('-c, --change <instruction>', 'Dockerfile instruction for the image: CMD, ENV, …', repeated)
    .option('-m, --message <text>', 'comment of its history')
    .option('--platform <platform>', 'linux/amd64, linux/arm64; the host when absent')
    .option('-q, --quiet', 'no progress')
    .action(async (file: string, reference: string | undefined, flags: ImportFlags) => {
      if (/^https?:\/\//.test(file)) throw invalidField('file', 'a file or -', file);
      const { change = [], message = '', platform = '', quiet = false } = flags;
      const config = parseChanges(change);
      const options = ImportImageOptions.fromPartial({ reference: reference ?? '', config, message, platform });
      const { chunks } = openArchive(file);
      const imageId = await withEngine(async (engine) => {
        using progress = await openProgress(quiet);
        let id = '';
        for await (const { event } of engine.images.importImage(requests(options, chunks))) {
          if (event?.$case === 'progress') progress.show(event.value);
          if (event?.$case === 'image') id = event.value.imageId;
        }
        return id;
      });
      process.stdout.write(`${imageId}\n`);
    });
}

async function* requests(
  options: ImportImageOptions,
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<ImportImageRequest> {
  yield { part: { $case: 'options', value: options } };
  for await (const value of chunks) yield { part: { $case: 'chunk', value } };
}
