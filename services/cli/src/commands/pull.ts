import process from 'node:process';
import { canonicalReference, parseReference } from '@flotilla/oci';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { pullImage } from '../registry/pull-image.ts';

interface PullFlags {
  readonly platform?: string;
  readonly quiet?: boolean;
}

export function pullCommand(): Command {
  return new Command('pull')
    .argument('<name>')
    .option('--platform <platform>', 'image for another platform, such as linux/arm64')
    .option('-q, --quiet', 'no progress, only the name')
    .action(async (name: string, { platform = '', quiet = false }: PullFlags) => {
      const say = (line: string) => process.stdout.write(`${line}\n`);
      const reference = parseReference(name, 'image');
      const { tag, digest, path } = reference;
      const isDefault = tag === 'latest' && digest === undefined && !name.endsWith(':latest');
      if (isDefault && !quiet) say('Using default tag: latest');
      if (!quiet) say(`${digest ?? tag}: Pulling from ${path}`);
      await withEngine((engine) => pullImage(engine, name, { platform, quiet, say }));
      say(canonicalReference(reference));
    });
}
