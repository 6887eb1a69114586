import { type Engine, retryWhileUnavailable } from '@flotilla/client';
import { hasReason } from '@flotilla/errors';
import type { AttachStart } from '@flotilla/proto/flotilla/v1/container';
import { warn } from '../failure.ts';
import type { ClientInput } from './client-input.ts';
import { writeOutput } from './output.ts';
import type { OutputPlace } from './output-place.ts';
import { resumedLogs } from './resumed-logs.ts';

export interface BrokenSession {
  readonly input: ClientInput;
  readonly start: AttachStart;
  /** How far it had come. */
  readonly place: OutputPlace;
  /** Number of the last run before this one. */
  readonly afterRun: bigint;
}

/**
 * Goes on with a session that cannot be attached again, because the run has ended or the client was too slow: the
 * container's log has all that it wrote since its start, so what has come already is passed over and nothing is missing.
 * Input goes over an attachment of its own.
 */
export async function copyRestFromLogs(engine: Engine, session: BrokenSession): Promise<void> {
  const { start, input, place, afterRun } = session;
  const { container, stdout, stderr } = start;
  const abort = new AbortController();
  const found = await retryWhileUnavailable(() => engine.containers.getContainer({ container })).catch(
    (error: unknown) => {
      if (hasReason(error, 'CONTAINER_NOT_FOUND')) return undefined;
      throw error;
    },
  );
  const status = found?.container?.status;
  if (status === undefined) {
    warn(`container ${container} has removed itself, and its log: the last of its output may be missing`);
    return;
  }
  if (start.stdin && status.initPid !== 0) void sendInput(engine, input, start, abort.signal);
  const since = afterRun === 0n ? {} : { sinceUnixNano: status.startedAtUnixNano };
  const unseen = place.unseen();
  const request = { container, follow: true, details: false, stdout, stderr, afterCursor: '', ...since };
  try {
    for await (const { stream, data } of resumedLogs(engine, request)) {
      const rest = unseen({ stream, data });
      if (rest.length > 0) await writeOutput({ stream, data: rest });
    }
  } finally {
    abort.abort();
  }
}

async function sendInput(engine: Engine, input: ClientInput, start: AttachStart, signal: AbortSignal): Promise<void> {
  const first = { $case: 'start' as const, value: { ...start, stdout: false, stderr: false } };
  try {
    for await (const { message } of engine.containers.attachContainer(input.messages(first), { signal })) {
      if (message?.$case === 'ended') return;
    }
  } catch {
    // The container has ended, or the engine is away once more: its output says so.
  }
}
