import { randomUUID } from 'node:crypto';
import { FlotillaError, invalidField } from '@flotilla/errors';
import type { StreamLogsRequest, StreamLogsResponse } from '@flotilla/proto/flotilla/v1/container';
import type { CallContext } from '@flotilla/rpc';
import { logFormats } from '../adapters/log-formats.ts';
import { readLog } from '../adapters/log-reader.ts';
import { isLive } from '../domain/container-state.ts';
import type { Engine } from '../domain/engine.ts';
import { hasLogFile, type LogDriverName, logDriverOf } from '../domain/validation/log-options.ts';

/**
 * ContainerService.StreamLogs: what the log has and, with `follow`, what comes until the run is over. A container that is removed
 * when it exits stays for its readers, as for clients that are attached.
 */
export async function* streamLogs(
  { repository, files, attachments, now }: Engine,
  request: StreamLogsRequest,
  { signal }: CallContext,
): AsyncGenerator<StreamLogsResponse> {
  const { containerId, config, state, run } = repository.find(request.container);
  if (!request.stdout && !request.stderr) throw invalidField('stdout, stderr', 'true, one of them at least');
  const driver = logDriverOf(config.log);
  if (!hasLogFile(driver)) throw noLog(containerId, driver);
  const live = isLive(state) || state === 'starting';
  const isOver = () => {
    const record = repository.get(containerId);
    return record === undefined || record.endedRun >= run;
  };
  const entries = readLog({
    path: files.logPath(containerId, driver),
    format: logFormats[driver],
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
  const reader = randomUUID();
  attachments.begin(containerId, reader);
  try {
    for await (const { stream, timeUnixNano, data, cursor, attributes } of entries) {
      yield {
        stream: stream === 'stdout' ? 'OUTPUT_STREAM_STDOUT' : 'OUTPUT_STREAM_STDERR',
        timeUnixNano,
        data,
        cursor,
        attributes: request.details ? { ...attributes } : {},
      };
    }
  } finally {
    attachments.end(containerId, reader);
  }
}

const elsewhere: Readonly<Partial<Record<LogDriverName, string>>> = {
  journald: ': the journal has it (journalctl CONTAINER_ID_FULL=…)',
  syslog: ': the syslog daemon has it',
};

function noLog(containerId: string, driver: LogDriverName): FlotillaError {
  const text = `configured logging driver does not support reading (${driver})${elsewhere[driver] ?? ''}`;
  return new FlotillaError('failed_precondition', text, { reason: 'NO_LOG', metadata: { containerId, driver } });
}
