import { FlotillaError, invalidField } from '@flotilla/errors';
import type { StreamLogsRequest, StreamLogsResponse } from '@flotilla/proto/flotilla/v1/container';
import type { CallContext } from '@flotilla/rpc';
import { readLog } from '../adapters/log-reader.ts';
import { isLive } from '../domain/container-state.ts';
import type { Engine } from '../domain/engine.ts';

/** ContainerService.StreamLogs: what the log has and, with `follow`, what comes until the run is over. */
export async function* streamLogs(
  { repository, files, now }: Engine,
  request: StreamLogsRequest,
  { signal }: CallContext,
): AsyncGenerator<StreamLogsResponse> {
  const { containerId, config, state, run } = repository.find(request.container);
  if (!request.stdout && !request.stderr) throw invalidField('stdout, stderr', 'true, one of them at least');
  if (config.log?.driver === 'none') {
    throw new FlotillaError('failed_precondition', 'the container keeps no log (log driver none)', {
      reason: 'NO_LOG',
      metadata: { containerId },
    });
  }
  const live = isLive(state) || state === 'starting';
  const isOver = () => {
    const record = repository.get(containerId);
    return record === undefined || record.endedRun >= run;
  };
  const entries = readLog({
    path: files.logPath(containerId),
    stdout: request.stdout,
    stderr: request.stderr,
    sinceUnixNano: request.sinceUnixNano,
    untilUnixNano: request.untilUnixNano,
    tail: request.tail === undefined ? undefined : Number(request.tail),
    afterCursor: request.afterCursor,
    isOver: request.follow && live ? isOver : undefined,
    signal,
    now,
  });
  for await (const { stream, timeUnixNano, data, cursor } of entries) {
    yield {
      stream: stream === 'stdout' ? 'OUTPUT_STREAM_STDOUT' : 'OUTPUT_STREAM_STDERR',
      timeUnixNano,
      data,
      cursor,
    };
  }
}
