import type { TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import type { Bundle } from '../bundle.ts';
import { JournaldLog } from './journald-log.ts';
import { JsonLog } from './json-log.ts';
import { LocalLog } from './local-log.ts';
import type { LogDriver } from './log-driver.ts';
import { SyslogLog } from './syslog-log.ts';

/** Drivers by the name that the task options have; an empty one is json-file. */
const logDrivers: Readonly<Record<string, (options: TaskOptions) => LogDriver>> = {
  'json-file': (options) => new JsonLog(fileOf(options), attributesOf(options)),
  local: (options) => new LocalLog(fileOf(options)),
  journald: (options) => new JournaldLog(options),
  syslog: (options) => new SyslogLog(options),
};

/** The driver that the task options name; `undefined` for none. Throws what open(2) says. */
export function openLog({ options }: Bundle): LogDriver | undefined {
  const name = options.logDriver || 'json-file';
  if (name === 'none' || (name === 'json-file' && options.logPath === '')) return undefined;
  return logDrivers[name]!(options);
}

function fileOf({ logPath, logMaxSizeBytes, logMaxFiles }: TaskOptions) {
  return { path: logPath, maxSizeBytes: Number(logMaxSizeBytes), maxFiles: Math.max(1, logMaxFiles) };
}

/** As Docker has it, a tag is an attribute among the others. */
function attributesOf({ log }: TaskOptions): Record<string, string> {
  return { ...log?.attributes, ...(log?.tag ? { tag: log.tag } : {}) };
}
