import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import { currentRequestId } from './request-id.ts';

export type { Logger };

const longestBacklogBytes = 1 << 20;

export interface LoggerOptions {
  /** The process: `api`, `shim`, … */
  readonly service: string;
  /** pino level: `trace` to `fatal`, or `silent`. */
  readonly level: string;
  /** Descriptor that lines go to; standard output when absent. */
  readonly fd?: number;
  /** Where lines go instead of a descriptor. */
  readonly destination?: DestinationStream;
}

/**
 * Makes the process's logger: JSON lines, each with the service, its process id and the current request's id. Writes
 * synchronously, so that a process that is killed has said what it had to say, and so that no handle of libuv is open.
 */
export function createLogger({ service, level, fd = 1, destination }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: { service, pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      mixin: () => {
        const requestId = currentRequestId();
        return requestId === undefined ? {} : { requestId };
      },
    },
    destination ?? openDestination(fd),
  );
}

/** A disk that is full is not the end of a service: lines that cannot be written wait for the next one, up to a limit. */
function openDestination(fd: number): DestinationStream {
  const stream = pino.destination({ fd, sync: true, maxLength: longestBacklogBytes });
  stream.on('error', () => {});
  return stream;
}
