import process from 'node:process';
import type { Engine } from '@flotilla/client';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { canonicalReference, familiarReference, parseReference, type Reference } from '@flotilla/oci';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { pushImage } from '../registry/push-image.ts';

interface PushFlags {
  readonly allTags?: boolean;
  readonly quiet?: boolean;
}

export function pushCommand(): Command {
  return new Command('push')
    .argument('<name>')
    .option('-a, --all-tags', 'all tags of the repository that are here')
    .option('-q, --quiet', 'no progress, only the name')
    .action(async (name: string, { allTags = false, quiet = false }: PushFlags) => {
      const say = (line: string) => process.stdout.write(`${line}\n`);
      const reference = parseReference(name, 'image');
      const { domain, path, digest } = reference;
      if (digest !== undefined) throw invalidField('image', 'a name with a tag, without a digest', name);
      const isBare = name.lastIndexOf(':') <= name.lastIndexOf('/');
      if (allTags && !isBare) throw invalidField('image', 'a name without a tag, with --all-tags', name);
      await withEngine(async (engine) => {
        if (isBare && !allTags && !quiet) say('Using default tag: latest');
        const names = allTags ? await tagsOf(engine, reference) : [familiarReference(reference)];
        if (!quiet) say(`The push refers to repository [${domain}/${path}]`);
        for (const one of names) {
          await pushImage(engine, one, { quiet, say });
          if (quiet) say(canonicalReference(parseReference(one)));
        }
      });
    });
}

async function tagsOf(engine: Engine, { domain, path }: Reference): Promise<string[]> {
  const repository = familiarReference({ domain, path });
  const { images } = await engine.images.listImages({ references: [], labels: [], dangling: false });
  const tags = images.flatMap(({ references }) => references).filter((one) => isTagOf(one, { domain, path }));
  if (tags.length > 0) return tags.sort();
  throw new FlotillaError('not_found', `no image here has the name ${repository}`, {
    reason: 'IMAGE_NOT_FOUND',
    metadata: { image: repository },
  });
}

function isTagOf(text: string, { domain, path }: Reference): boolean {
  const reference = parseReference(text);
  return reference.domain === domain && reference.path === path;
}
