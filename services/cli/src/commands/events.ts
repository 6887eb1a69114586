import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, isLost, isUnavailable } from '@flotilla/client';
import { invalidField } from '@flotilla/errors';
import type { StreamEventsRequest, StreamEventsResponse } from '@flotilla/proto/flotilla/v1/event';
import { Command } from 'commander';
import { withEngine } from '../engine.ts';
import { parseFilters } from '../filters.ts';
import { parseTimestamp } from '../flags/timestamp.ts';
import { formatTimestamp } from '../format/human.ts';
import { toProtoJson } from '../format/proto-json.ts';
import { fillTemplate } from '../format/template.ts';
import { repeated } from './repeated.ts';

interface EventsFlags {
  readonly filter?: readonly string[];
  readonly format?: string;
  readonly since?: string;
  readonly until?: string;
}

/** A stream that lived so long was established: the engine was there. */
const settledMs = 1_000;
const types = ['container', 'image', 'network', 'volume', 'service'];
const filterKeys = ['type', 'event', 'label', ...types];

export function eventsCommand(): Command {
  return new Command('events')
    .option('-f, --filter <key=value>', `filter by ${filterKeys.join(', ')}`, repeated)
    .option('--format <format>', 'json or a template')
    .option('--since <time>', 'from a time: 10m, 2026-11-24T22:50:00Z or seconds since 1970')
    .option('--until <time>', 'up to a time; ends then')
    .action(async (flags: EventsFlags) => {
      const request = eventsRequest(flags, BigInt(Date.now()) * 1_000_000n);
      await withEngine(async (engine) => {
        for await (const response of resumedEvents(engine, request)) {
          process.stdout.write(`${formatEvent(response, flags.format)}\n`);
        }
      });
    });
}

/** The request that the flags make. A filter such as `container=web` chooses the type as well. */
export function eventsRequest({ filter, since, until }: EventsFlags, nowUnixNano: bigint): StreamEventsRequest {
  const filters = parseFilters(filter, filterKeys);
  const wrong = filters.get('type')?.find((type) => !types.includes(type));
  if (wrong !== undefined) throw invalidField('--filter type', types.join(', '), wrong);
  const named = types.filter((type) => filters.has(type));
  return {
    afterSequence: 0n,
    types: [...(filters.get('type') ?? []), ...named],
    actions: filters.get('event') ?? [],
    actors: named.flatMap((type) => filters.get(type) ?? []),
    labels: filters.get('label') ?? [],
    ...(!since ? {} : { sinceUnixNano: parseTimestamp('--since', since, nowUnixNano) }),
    ...(!until ? {} : { untilUnixNano: parseTimestamp('--until', until, nowUnixNano) }),
  };
}

/** Goes on behind the last event, or where it began when none has come, when the engine or NATS was away. */
async function* resumedEvents(engine: Engine, first: StreamEventsRequest): AsyncGenerator<StreamEventsResponse> {
  const startedAt = Date.now();
  let request = first;
  for (let failures = 0; ; ) {
    try {
      for await (const response of engine.events.streamEvents(request)) {
        failures = 0;
        const { sinceUnixNano: _, ...rest } = request;
        request = { ...rest, afterSequence: response.sequence };
        yield response;
      }
      return;
    } catch (error) {
      const wasThere = request.afterSequence !== 0n || isLost(error) || Date.now() - startedAt > settledMs;
      if (!isUnavailable(error) || !wasThere || ++failures > 60) throw error;
      if (request.afterSequence === 0n) request = { sinceUnixNano: BigInt(startedAt) * 1_000_000n, ...request };
    }
    await sleep(1_000);
  }
}

/** `2026-11-24T22:50:08.123456789Z container start ID (image=debian, name=web)`, as Docker prints it. */
export function formatEvent({ event, sequence }: StreamEventsResponse, format: string | undefined): string {
  if (event === undefined) return '';
  const json = { sequence: String(sequence), ...(toProtoJson(event) as object) };
  if (format === 'json') return JSON.stringify(json);
  if (format !== undefined) return fillTemplate(format, json);
  const attributes = Object.entries(event.attributes)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  const details = attributes.length === 0 ? '' : ` (${attributes.join(', ')})`;
  return `${formatTimestamp(event.timeUnixNano)} ${event.type} ${event.action} ${event.actorId}${details}`;
}
