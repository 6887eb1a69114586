import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Engine } from '@flotilla/client';
import { invalidField } from '@flotilla/errors';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { parseFilters } from '../filters.ts';
import { parseTimestamp } from '../flags/timestamp.ts';
import { formatSize } from '../format/human.ts';
import { repeated } from './repeated.ts';

export interface PruneFlags {
  readonly all?: boolean;
  readonly filter?: readonly string[];
  readonly force?: boolean;
}

/** What was removed, as a part of what `prune` prints. */
interface Pruned {
  readonly title: string;
  readonly lines: readonly string[];
  readonly bytes: bigint;
}

/** Filters as the engine takes them. */
export interface PruneFilters {
  readonly labels: string[];
  readonly labelsNot: string[];
  readonly untilUnixNano?: bigint;
}

/** All files of what goes are looked at, to say what that frees. */
const patient = { deadlineMs: Number.POSITIVE_INFINITY };

export function imagePruneCommand(): Command {
  return pruneCommand('until=, label=, label!=, dangling=')
    .option('-a, --all', 'all that no container uses, not the dangling ones alone')
    .action(async (flags: PruneFlags) => {
      const filters = parseFilters(flags.filter, ['until', 'label', 'label!', 'dangling']);
      const all = flags.all === true || isFalse(filters.get('dangling'));
      const which = all ? 'all images without at least one container associated to them' : 'all dangling images';
      const request = { all, ...pruneFilters(filters) };
      if (await confirmed(flags, `This will remove ${which}.`)) await prune((engine) => pruneImages(engine, request));
    });
}

export function containerPruneCommand(): Command {
  return pruneCommand('until=, label=, label!=').action(async (flags: PruneFlags) => {
    const request = pruneFilters(parseFilters(flags.filter, ['until', 'label', 'label!']));
    if (await confirmed(flags, 'This will remove all stopped containers.'))
      await prune((engine) => pruneContainers(engine, request));
  });
}

export function volumePruneCommand(): Command {
  return pruneCommand('label=, label!=, all=')
    .option('-a, --all', 'named ones, too, not the anonymous ones alone')
    .action(async (flags: PruneFlags) => {
      const filters = parseFilters(flags.filter, ['label', 'label!', 'all']);
      const all = flags.all === true || isTrue(filters.get('all'));
      const request = { all, ...pruneFilters(filters) };
      const which = `${all ? 'all' : 'anonymous'} local volumes not used by at least one container`;
      if (await confirmed(flags, `This will remove ${which}.`)) await prune((engine) => pruneVolumes(engine, request));
    });
}

export function systemPruneCommand(): Command {
  return pruneCommand('until=, label=, label!=')
    .option('-a, --all', 'all images that no container uses, not the dangling ones alone')
    .option('--volumes', 'anonymous volumes, too')
    .action(async (flags: PruneFlags & { readonly volumes?: boolean }) => {
      const { all = false, volumes = false } = flags;
      const request = pruneFilters(parseFilters(flags.filter, ['until', 'label', 'label!']));
      if (volumes && request.untilUnixNano !== undefined)
        throw invalidField('--filter until', 'absent with --volumes, which do not have it');
      if (!(await confirmed(flags, systemWarning(flags)))) return;
      await prune(
        (engine) => pruneContainers(engine, request),
        ...(volumes ? [(engine: Engine) => pruneVolumes(engine, { all: false, ...request })] : []),
        (engine) => pruneImages(engine, { all, ...request }),
      );
    });
}

function systemWarning({ all, volumes, filter = [] }: PruneFlags & { readonly volumes?: boolean }): string {
  const going = [
    'all stopped containers',
    ...(volumes === true ? ['all anonymous volumes not used by at least one container'] : []),
    all === true ? 'all images without at least one container associated to them' : 'all dangling images',
  ];
  const list = (lines: readonly string[]) => lines.map((line) => `  - ${line}\n`).join('');
  const filters =
    filter.length === 0 ? '' : `\n  Items to be pruned will be filtered with:\n${list([...filter].sort())}`;
  return `This will remove:\n${list(going)}${filters}`;
}

function pruneCommand(filters: string): Command {
  return new Command('prune')
    .option('--filter <key=value>', `of those only: ${filters}`, repeated)
    .option('-f, --force', 'do not ask');
}

/** `until`, `label` and `label!`. INVALID_FIELD for more than one time. */
export function pruneFilters(filters: ReadonlyMap<string, readonly string[]>): PruneFilters {
  const [until, more] = filters.get('until') ?? [];
  if (more !== undefined) throw invalidField('--filter until', 'given once', more);
  const labels = [...(filters.get('label') ?? [])];
  const labelsNot = [...(filters.get('label!') ?? [])];
  if (until === undefined) return { labels, labelsNot };
  const now = BigInt(Date.now()) * 1_000_000n;
  return { labels, labelsNot, untilUnixNano: parseTimestamp('--filter until', until, now) };
}

const isTrue = (values: readonly string[] | undefined) => lastBoolean(values) === true;
const isFalse = (values: readonly string[] | undefined) => lastBoolean(values) === false;

function lastBoolean(values: readonly string[] | undefined): boolean | undefined {
  const text = values?.at(-1);
  if (text === undefined) return undefined;
  if (['true', '1'].includes(text)) return true;
  if (['false', '0'].includes(text)) return false;
  throw invalidField('--filter', 'true or false', text);
}

/** Asks, unless it was forced: only `y` is a yes. */
async function confirmed({ force }: PruneFlags, warning: string): Promise<boolean> {
  if (force === true) return true;
  process.stdout.write(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `);
  const lines = createInterface({ input: process.stdin });
  try {
    for await (const line of lines) return line.trim().toLowerCase() === 'y';
    return false;
  } finally {
    lines.close();
  }
}

/** One after the other: an image is free once its containers are gone. */
async function prune(...steps: readonly ((engine: Engine) => Promise<Pruned>)[]): Promise<void> {
  await withEngine(async (engine) => {
    let bytes = 0n;
    for (const step of steps) {
      const pruned = await step(engine);
      bytes += pruned.bytes;
      if (pruned.lines.length === 0) continue;
      process.stdout.write(`${[`${pruned.title}:`, ...pruned.lines].join('\n')}\n\n`);
    }
    process.stdout.write(`Total reclaimed space: ${formatSize(bytes, 4)}\n`);
  });
}

async function pruneImages(engine: Engine, request: PruneFilters & { readonly all: boolean }): Promise<Pruned> {
  const { removed, reclaimedBytes: bytes } = await engine.images.pruneImages(request, patient);
  const lines = removed.map((one) => `${one.startsWith('sha256:') ? 'deleted' : 'untagged'}: ${one}`);
  return { title: 'Deleted Images', lines, bytes };
}

async function pruneContainers(engine: Engine, request: PruneFilters): Promise<Pruned> {
  const { containerIds: lines, reclaimedBytes: bytes } = await engine.containers.pruneContainers(request, patient);
  return { title: 'Deleted Containers', lines, bytes };
}

async function pruneVolumes(engine: Engine, request: PruneFilters & { readonly all: boolean }): Promise<Pruned> {
  const { names: lines, reclaimedBytes: bytes } = await engine.volumes.pruneVolumes(request, patient);
  return { title: 'Deleted Volumes', lines, bytes };
}
