import type { StreamLogsRequest, StreamLogsResponse } from '@flotilla/proto/flotilla/v1/container';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { parseInteger } from '../flags/number.ts';
import { parseTimestamp } from '../flags/timestamp.ts';
import { formatTimestamp } from '../format/human.ts';
import { writeOutput } from '../streams/output.ts';
import { resumedLogs } from '../streams/resumed-logs.ts';

interface LogsFlags {
  readonly follow?: boolean;
  readonly since?: string;
  readonly tail?: string;
  readonly timestamps?: boolean;
  readonly until?: string;
}

export function logsCommand(): Command {
  return new Command('logs')
    .argument('<container>')
    .option('-f, --follow', 'go on with what comes')
    .option('--since <time>', 'from a time: 10m, 2026-11-24T22:50:00Z or seconds since 1970')
    .option('-n, --tail <number>', 'the last so many lines, or all')
    .option('-t, --timestamps', 'a time before each line')
    .option('--until <time>', 'up to a time')
    .action(async (container: string, flags: LogsFlags) => {
      const request = logsRequest(container, flags, BigInt(Date.now()) * 1_000_000n);
      const print = printer(flags.timestamps === true);
      await withEngine(async (engine) => {
        for await (const entry of resumedLogs(engine, request)) await print(entry);
      });
    });
}

/** The request that the flags make. A tail that is no number means all, as with Docker. */
export function logsRequest(container: string, flags: LogsFlags, nowUnixNano: bigint): StreamLogsRequest {
  const { since, until, tail } = flags;
  return {
    container,
    follow: flags.follow === true,
    stdout: true,
    stderr: true,
    afterCursor: '',
    ...(since === undefined ? {} : { sinceUnixNano: parseTimestamp('--since', since, nowUnixNano) }),
    ...(until === undefined ? {} : { untilUnixNano: parseTimestamp('--until', until, nowUnixNano) }),
    ...(tail === undefined || tail === 'all' || tail === '-1'
      ? {}
      : { tail: BigInt(parseInteger('--tail', tail, 0, Number.MAX_SAFE_INTEGER)) }),
  };
}

/** Writes entries; times stand before lines alone, not before the parts of a long one. */
function printer(timestamps: boolean): (entry: StreamLogsResponse) => Promise<void> {
  const inLine = new Set<string>();
  return async ({ stream, data, timeUnixNano }) => {
    const stamp =
      timestamps && !inLine.has(stream) ? Buffer.from(`${formatTimestamp(timeUnixNano)} `) : Buffer.alloc(0);
    if (data.at(-1) === 0x0a) inLine.delete(stream);
    else inLine.add(stream);
    await writeOutput({ stream, data: Buffer.concat([stamp, data]) });
  };
}
