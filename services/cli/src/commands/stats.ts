import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, isLost, isUnavailable } from '@flotilla/client';
import { StreamStatsRequest } from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { statsColumns, statsRow } from '../format/stats.ts';
import { type Row, renderList } from '../format/table.ts';

interface StatsFlags {
  readonly all?: boolean;
  readonly format?: string;
  readonly stream: boolean;
  readonly trunc: boolean;
}

/** A container of which nothing was heard for so long is gone, or has stopped. */
const staleMs = 2_500;
const redrawMs = 500;
const patienceMs = 60_000;
const clearScreen = '\x1b[2J';
const home = '\x1b[H';
const clearLine = '\x1b[K';
const clearBelow = '\x1b[J';

export function statsCommand(): Command {
  return new Command('stats')
    .argument('[container...]')
    .option('-a, --all', 'those that do not run, too')
    .option('--format <format>', 'table, json or a template')
    .option('--no-stream', 'print once')
    .option('--no-trunc', 'whole ids')
    .action(async (containers: string[], flags: StatsFlags) => {
      const request = StreamStatsRequest.create({ containers, all: flags.all === true, single: !flags.stream });
      await withEngine((engine) => (flags.stream ? showLive : showOnce)(engine, request, flags));
    });
}

async function showOnce(engine: Engine, request: StreamStatsRequest, { format, trunc }: StatsFlags): Promise<void> {
  const rows: Row[] = [];
  for await (const stats of engine.containers.streamStats(request)) rows.push(statsRow(stats, trunc));
  process.stdout.write(renderList({ columns: statsColumns, rows, format }));
}

/** Draws the table again and again: over the last one on a terminal, below it elsewhere. */
async function showLive(engine: Engine, request: StreamStatsRequest, { format, trunc }: StatsFlags): Promise<void> {
  const known = new Map<string, { readonly row: Row; readonly heardAt: number }>();
  let changed = true;
  const draw = () => {
    for (const [id, { heardAt }] of known) if (performance.now() - heardAt > staleMs) changed = known.delete(id);
    if (!changed) return;
    changed = false;
    const rows = [...known.values()].map(({ row }) => row);
    process.stdout.write(frame(renderList({ columns: statsColumns, rows, format })));
  };
  if (process.stdout.isTTY === true) process.stdout.write(clearScreen);
  draw();
  const timer = setInterval(draw, redrawMs);
  try {
    for await (const stats of resumed(engine, request)) {
      known.set(stats.containerId, { row: statsRow(stats, trunc), heardAt: performance.now() });
      changed = true;
    }
    draw();
  } finally {
    clearInterval(timer);
  }
}

function frame(text: string): string {
  if (process.stdout.isTTY !== true) return text;
  return home + text.replaceAll('\n', `${clearLine}\n`) + clearBelow;
}

/** Asks again when the engine, or a part of it, was away: nothing of a sample is worth keeping. */
async function* resumed(engine: Engine, request: StreamStatsRequest) {
  for (let endsAt = Number.POSITIVE_INFINITY, established = false; ; ) {
    try {
      for await (const stats of engine.containers.streamStats(request)) {
        established = true;
        endsAt = Number.POSITIVE_INFINITY;
        yield stats;
      }
      return;
    } catch (error) {
      established ||= isLost(error);
      endsAt = Math.min(endsAt, Date.now() + patienceMs);
      if (!isUnavailable(error) || !established || Date.now() > endsAt) throw error;
    }
    await sleep(200);
  }
}
