import type { TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { type DaemonEntry, DaemonLog } from './daemon-log.ts';
import { DaemonSocket } from './daemon-socket.ts';
import { formatTime } from './json-log-encoder.ts';
import type { LogStream } from './log-driver.ts';

const shortIdLength = 12;
const newline = Buffer.from('\n');
/** LOG_INFO and LOG_ERR of syslog(3). */
const priorities: Readonly<Record<LogStream, string>> = { stdout: '6', stderr: '3' };

/** A container's output as entries of systemd-journald, with the fields that Docker gives them. */
export class JournaldLog extends DaemonLog {
  constructor(options: TaskOptions) {
    const { containerId, run, log } = options;
    const tag = log?.tag || containerId.slice(0, shortIdLength);
    const fixed = encodeFields({
      ...Object.fromEntries(Object.entries(log?.attributes ?? {}).map(([name, value]) => [fieldName(name), value])),
      CONTAINER_ID: containerId.slice(0, shortIdLength),
      CONTAINER_ID_FULL: containerId,
      CONTAINER_NAME: log?.containerName ?? '',
      CONTAINER_TAG: tag,
      IMAGE_NAME: log?.imageName ?? '',
      SYSLOG_IDENTIFIER: tag,
      CONTAINER_LOG_EPOCH: `${containerId}.${run}`,
    });
    super(new DaemonSocket(log?.socketPath ?? '', 'unixgram'), (entry) => formatEntry(entry, fixed));
  }
}

function formatEntry({ stream, text, isWhole, atUnixNano, ordinal }: DaemonEntry, fixed: Buffer): Buffer {
  const fields = encodeFields({
    PRIORITY: priorities[stream],
    SYSLOG_TIMESTAMP: formatTime(atUnixNano),
    CONTAINER_LOG_ORDINAL: String(ordinal),
    ...(isWhole ? {} : { CONTAINER_PARTIAL_MESSAGE: 'true' }),
  });
  return Buffer.concat([fixed, fields, encodeField('MESSAGE', text)]);
}

/** The protocol of systemd-journald: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. */
function encodeFields(fields: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(fields).flatMap(([name, value]) => (name === '' ? [] : [encodeField(name, Buffer.from(value))])),
  );
}

/** With its length, as values may have newlines in them. */
function encodeField(name: string, value: Uint8Array): Buffer {
  const length = Buffer.allocUnsafe(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, newline]);
}

/** Capital letters, digits and underscores, a letter first, at most 64: journald takes no other. */
function fieldName(name: string): string {
  return name
    .toUpperCase()
    .replace(/[^A-Z0-9]/g, '_')
    .replace(/^[_0-9]+/, '')
    .slice(0, 64);
}
