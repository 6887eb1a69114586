import type { Bundle } from '../bundle.ts';
import { JsonLog } from './json-log.ts';
import type { LogDriver } from './log-driver.ts';

/** The driver that the task options name; `undefined` for none. Throws what open(2) says. */
export function openLog({ options }: Bundle): LogDriver | undefined {
  if (options.logDriver === 'none' || options.logPath === '') return undefined;
  return new JsonLog({
    path: options.logPath,
    maxSizeBytes: Number(options.logMaxSizeBytes),
    maxFiles: Math.max(1, options.logMaxFiles),
  });
}
