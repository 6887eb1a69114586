import { setTimeout as sleep } from 'node:timers/promises';
import type { StreamLogsRequest, StreamLogsResponse } from '@flotilla/proto/flotilla/v1/container';
import type { CallContext } from '@flotilla/rpc';
import type { SupervisorClient } from '../adapters/owners.ts';
import { Patience } from '../domain/resume.ts';

/** A stream that lived so long had reached the end of what was logged: what it has not sent was not there. */
const settledMs = 1_000;

/**
 * ContainerService.StreamLogs: passed on, and resumed behind the last entry when the supervisor restarts meanwhile, so
 * that there is neither a gap nor a double.
 */
export function streamLogs(supervisor: SupervisorClient, resumeMs: number) {
  return async function* (first: StreamLogsRequest, { signal }: CallContext): AsyncGenerator<StreamLogsResponse> {
    let request = first;
    let established = false;
    const patience = new Patience(resumeMs);
    for (;;) {
      const startedAt = Date.now();
      try {
        for await (const entry of supervisor.streamLogs(request, { signal })) {
          request = { ...request, afterCursor: entry.cursor };
          established = true;
          patience.restore();
          yield entry;
        }
        return;
      } catch (error) {
        const lived = Date.now() - startedAt > settledMs && !neverThere(error);
        established ||= lived;
        if (!established || signal.aborted || !patience.allows(error)) throw error;
        if (lived) request = withoutTail(request, startedAt);
      }
      await sleep(50, undefined, { signal });
    }
  };
}

/** Nothing came so far, so "the last so many" was none: what comes from now on is all wanted. */
function withoutTail(request: StreamLogsRequest, startedAt: number): StreamLogsRequest {
  if (request.afterCursor !== '' || request.tail === undefined) return request;
  const since = BigInt(startedAt) * 1_000_000n;
  const { tail: _, ...rest } = request;
  const given = request.sinceUnixNano;
  return { ...rest, sinceUnixNano: given !== undefined && given > since ? given : since };
}

function neverThere(error: unknown): boolean {
  return error instanceof Error && 'metadata' in error && 'deadlineMs' in (error.metadata as object);
}
