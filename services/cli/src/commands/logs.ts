import type { StreamLogsRequest, StreamLogsResponse } from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { parseInteger } from '../flags/number.ts';
import { parseTimestamp } from '../flags/timestamp.ts';
import { formatTimestamp } from '../format/human.ts';
import { writeOutput } from '../streams/output.ts';
import { resumedLogs } from '../streams/resumed-logs.ts';

interface LogsFlags {
  readonly details?: boolean;
  readonly follow?: boolean;
  readonly since?: string;
  readonly tail?: string;
  readonly timestamps?: boolean;
  readonly until?: string;
}

export function logsCommand(): Command {
  return new Command('logs')
    .argument('<container>')
    .option('--details', 'labels, variables and tag that the log options chose')
    .option('-f, --follow', 'go on with what comes')
    .option('--since <time>', 'from a time: 10m, 2026-11-24T22:50:00Z or seconds since 1970')
    .option('-n, --tail <number>', 'the last so many lines, or all')
    .option('-t, --timestamps', 'a time before each line')
    .option('--until <time>', 'up to a time')
    .action(async (container: string, flags: LogsFlags) => {
      const request = logsRequest(container, flags, BigInt(Date.now()) * 1_000_000n);
      const print = printer(flags);
      await withEngine(async (engine) => {
        for await (const entry of resumedLogs(engine, request)) await print(entry);
      });
    });
}

/** The request that the flags make. A flag that is empty, as a script's variable may be, is as good as absent. */
export function logsRequest(container: string, flags: LogsFlags, nowUnixNano: bigint): StreamLogsRequest {
  const { since, until, tail } = flags;
  return {
    container,
    follow: flags.follow === true,
    details: flags.details === true,
    stdout: true,
    stderr: true,
    afterCursor: '',
    ...(!since ? {} : { sinceUnixNano: parseTimestamp('--since', since, nowUnixNano) }),
    ...(!until ? {} : { untilUnixNano: parseTimestamp('--until', until, nowUnixNano) }),
    ...(!tail || tail === 'all' || tail === '-1'
      ? {}
      : { tail: BigInt(parseInteger('--tail', tail, 0, Number.MAX_SAFE_INTEGER)) }),
  };
}

/** Writes entries; what stands before lines does not stand before the parts of a long one. */
function printer({ timestamps, details }: LogsFlags): (entry: StreamLogsResponse) => Promise<void> {
  const inLine = new Set<string>();
  return async ({ stream, data, timeUnixNano, attributes }) => {
    const before: string[] = [];
    if (timestamps === true) before.push(`${formatTimestamp(timeUnixNano)} `);
    if (details === true) before.push(`${formatDetails(attributes)} `);
    const prefix = Buffer.from(inLine.has(stream) ? '' : before.join(''));
    if (data.at(-1) === 0x0a) inLine.delete(stream);
    else inLine.add(stream);
    await writeOutput({ stream, data: Buffer.concat([prefix, data]) });
  };
}

/** `key=value` with commas between, in the order of their names, escaped as in a query: as Docker prints them. */
export function formatDetails(attributes: Readonly<Record<string, string>>): string {
  const names = Object.keys(attributes).sort();
  return names.map((name) => `${escapeQuery(name)}=${escapeQuery(attributes[name] ?? '')}`).join(',');
}

function escapeQuery(text: string): string {
  const escaped = encodeURIComponent(text.toWellFormed()).replaceAll('%20', '+');
  return escaped.replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}
