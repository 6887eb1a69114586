import process from 'node:process';
import { FlotillaError } from '@flotilla/errors';
import type { LoadImagesRequest } from '@flotilla/proto/flotilla/v1/image';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { openArchive } from '../streams/archive-chunks.ts';
import { openProgress } from '../streams/progress.ts';

export function loadCommand(): Command {
  return new Command('load')
    .option('-i, --input <file>', 'read from a file instead of standard input')
    .option('-q, --quiet', 'no progress')
    .action(async ({ input, quiet = false }: { input?: string; quiet?: boolean }) => {
      const { chunks } = openArchive(input);
      const images: Loaded[] = [];
      await withEngine(async (engine) => {
        using progress = await openProgress(quiet);
        for await (const { event, references } of engine.images.loadImages(requests(chunks))) {
          if (event?.$case === 'progress') progress.show(event.value);
          if (event?.$case === 'image') images.push({ imageId: event.value.imageId, references });
        }
      });
      if (images.length === 0) {
        throw new FlotillaError('internal', 'the engine ended the load without an image', {
          reason: 'LOAD_INCOMPLETE',
        });
      }
      for (const { references, imageId } of images) {
        for (const reference of references) process.stdout.write(`Loaded image: ${reference}\n`);
        if (references.length === 0) process.stdout.write(`Loaded image ID: ${imageId}\n`);
      }
    });
}

interface Loaded {
  readonly imageId: string;
  /** As the archive has them. */
  readonly references: readonly string[];
}

async function* requests(chunks: AsyncIterable<Buffer>): AsyncGenerator<LoadImagesRequest> {
  for await (const chunk of chunks) yield { chunk };
}
