import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, isLost, isUnavailable } from '@flotilla/client';
import type { StreamLogsRequest, StreamLogsResponse } from '@flotilla/proto/flotilla/v1/container';

/** For how long the engine may be away before a log that is followed is given up. */
const patienceMs = 60_000;
/** A stream that lived so long was established: what it has not sent was not there. */
const settledMs = 1_000;

/** Goes on behind the last entry when the engine was away. */
export async function* resumedLogs(engine: Engine, first: StreamLogsRequest): AsyncGenerator<StreamLogsResponse> {
  const startedAt = Date.now();
  let request = first;
  let endsAt = Number.POSITIVE_INFINITY;
  for (;;) {
    try {
      for await (const entry of engine.containers.streamLogs(request)) {
        request = { ...request, afterCursor: entry.cursor };
        endsAt = Number.POSITIVE_INFINITY;
        yield entry;
      }
      return;
    } catch (error) {
      const wasThere = request.afterCursor !== '' || isLost(error) || Date.now() - startedAt > settledMs;
      if (!isUnavailable(error) || !wasThere) throw error;
      endsAt = Math.min(endsAt, Date.now() + patienceMs);
      if (Date.now() > endsAt) throw error;
      request = withoutTail(request, BigInt(startedAt) * 1_000_000n);
    }
    await sleep(100);
  }
}

/** Nothing came so far, so "the last so many" was none: all that was written since is wanted. */
function withoutTail(request: StreamLogsRequest, startedAtUnixNano: bigint): StreamLogsRequest {
  const { tail, ...rest } = request;
  if (request.afterCursor !== '' || tail === undefined) return request;
  return { sinceUnixNano: startedAtUnixNano, ...rest };
}
