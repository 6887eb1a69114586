import process from 'node:process';
import { invalidField } from '@flotilla/errors';
import type { Image } from '@flotilla/proto/flotilla/v1/image';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { parseFilters } from '../filters.ts';
import { digestColumn, imageColumns, imageRows, matchesReference } from '../format/images.ts';
import { renderList } from '../format/table.ts';
import { repeated } from './repeated.ts';

interface ImagesFlags {
  readonly all?: boolean;
  readonly digests?: boolean;
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly quiet?: boolean;
  readonly trunc: boolean;
}

export function imagesCommand(): Command {
  return new Command('images')
    .argument('[reference]')
    .option('-a, --all', 'those without a reference, too')
    .option('--digests', 'show digests')
    .option('-f, --filter <key=value>', 'filter by reference, label, dangling', repeated)
    .option('--format <format>', 'table, json or a template')
    .option('--no-trunc', 'do not shorten')
    .option('-q, --quiet', 'ids alone')
    .action(listImages);
}

const isDangling = ({ references, digestReferences }: Image) => references.length + digestReferences.length === 0;

async function listImages(reference: string | undefined, flags: ImagesFlags): Promise<void> {
  const filters = parseFilters(flags.filter, ['reference', 'label', 'dangling']);
  const dangling = filters.get('dangling')?.at(-1);
  if (dangling !== undefined && !['true', 'false'].includes(dangling)) {
    throw invalidField('--filter dangling', 'true or false', dangling);
  }
  const references = [...(filters.get('reference') ?? []), ...(reference === undefined ? [] : [reference])];
  const { images } = await withEngine((engine) =>
    engine.images.listImages({
      references,
      labels: filters.get('label') ?? [],
      dangling: dangling === 'true' || (flags.all === true && dangling !== 'false'),
    }),
  );
  const wanted = dangling === 'true' ? images.filter(isDangling) : images;
  // An image that matches may have other references, which were not asked for.
  const rows = wanted
    .flatMap((image) => imageRows(image, { truncate: flags.trunc, nowMs: Date.now() }))
    .filter((row) => matchesReference(row, references));
  const [repository, tag, ...rest] = imageColumns;
  const columns =
    flags.digests === true && repository !== undefined && tag !== undefined
      ? [repository, tag, digestColumn, ...rest]
      : imageColumns;
  const ids = new Set<string>();
  // `-q` is for scripts: an image with two references is still one.
  const shown = flags.quiet === true ? rows.filter(({ ID = '' }) => !ids.has(ID) && ids.add(ID)) : rows;
  const quiet = flags.quiet === true ? 'ID' : undefined;
  process.stdout.write(renderList({ columns, rows: shown, format: flags.format, quiet }));
}
