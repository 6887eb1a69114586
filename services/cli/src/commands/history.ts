import process from 'node:process';
import type { ImageHistoryEntry } from '@flotilla/proto/flotilla/v1/image';
import { Command, Option } from 'commander';
import { withEngine } from '../engine.ts';
import { ellipsis, formatSince, formatSize, formatTimestamp, shortId } from '../format/human.ts';
import { type Column, type Row, renderList } from '../format/table.ts';

interface HistoryFlags {
  readonly format?: string;
  readonly human: boolean;
  readonly quiet?: boolean;
  readonly trunc: boolean;
}

export function historyCommand(): Command {
  return new Command('history')
    .argument('<image>')
    .option('--format <format>', 'table, json or a template')
    .option('-H, --human', 'sizes and dates for people', true)
    .addOption(new Option('--no-human').hideHelp())
    .option('--no-trunc', 'do not shorten')
    .option('-q, --quiet', 'only ids')
    .action(async (image: string, flags: HistoryFlags) => {
      const { entries } = await withEngine((engine) => engine.images.getImageHistory({ image }));
      const { format, human, quiet } = flags;
      const nowMs = Date.now();
      const rows = entries.map((entry) => historyRow(entry, flags, nowMs));
      const list = { columns: historyColumns(human), rows, format, quiet: quiet === true ? 'ID' : undefined };
      process.stdout.write(renderList(list));
    });
}

function historyColumns(human: boolean): Column[] {
  return [
    { field: 'ID', title: 'IMAGE' },
    human ? { field: 'CreatedSince', title: 'CREATED' } : { field: 'CreatedAt', title: 'CREATED AT' },
    { field: 'CreatedBy', title: 'CREATED BY' },
    { field: 'Size', title: 'SIZE' },
    { field: 'Comment', title: 'COMMENT' },
  ];
}

/** A step as Docker tells it: most of them are no image any more. */
function historyRow(entry: ImageHistoryEntry, { human, trunc }: HistoryFlags, nowMs: number): Row {
  const { createdAtUnixNano, imageId, sizeBytes } = entry;
  const createdBy = entry.createdBy.replaceAll('\t', ' ');
  const isKnown = createdAtUnixNano !== 0n;
  const createdAt = isKnown ? `${formatTimestamp(createdAtUnixNano).slice(0, 19)}Z` : 'N/A';
  return {
    Comment: entry.comment,
    CreatedAt: createdAt,
    CreatedBy: trunc ? ellipsis(createdBy, 45) : createdBy,
    CreatedSince: human && isKnown ? `${formatSince(createdAtUnixNano, nowMs)} ago` : createdAt,
    ID: imageId === '' ? '<missing>' : trunc ? shortId(imageId) : imageId,
    Size: human ? formatSize(sizeBytes) : String(sizeBytes),
  };
}
