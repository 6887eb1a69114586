import { hostname } from 'node:os';
import process from 'node:process';
import type { TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { type DaemonEntry, DaemonLog } from './daemon-log.ts';
import { DaemonSocket } from './daemon-socket.ts';
import type { LogStream } from './log-driver.ts';

const newline = Buffer.from('\n');
/** LOG_INFO and LOG_ERR of syslog(3). */
const severities: Readonly<Record<LogStream, number>> = { stdout: 6, stderr: 3 };
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A container's output as messages of a syslog daemon of this host. */
export class SyslogLog extends DaemonLog {
  constructor({ log, containerId }: TaskOptions) {
    const { socketPath = '', socketType = 'unix', syslogFacility = 3, syslogFormat = '' } = log ?? {};
    const socket = new DaemonSocket(socketPath, socketType);
    const tag = log?.tag || containerId.slice(0, 12);
    super(socket, ({ stream, text, atUnixNano }: DaemonEntry) => {
      const header = formatHeader({
        priority: syslogFacility * 8 + severities[stream],
        tag,
        format: syslogFormat,
        atUnixNano,
      });
      return Buffer.concat([Buffer.from(header), text, ...(socket.isStream ? [newline] : [])]);
    });
  }
}

interface Header {
  readonly priority: number;
  readonly tag: string;
  readonly format: string;
  readonly atUnixNano: bigint;
}

/** RFC 3164 section 4.1, without the host name as local daemons expect it unless asked for; RFC 5424 section 6. */
function formatHeader({ priority, tag, format, atUnixNano }: Header): string {
  if (format === '') return `<${priority}>${formatStamp(atUnixNano)} ${tag}[${process.pid}]: `;
  if (format === 'rfc3164') return `<${priority}>${formatStamp(atUnixNano)} ${hostname()} ${tag}[${process.pid}]: `;
  const time = formatRfc3339(atUnixNano, format === 'rfc5424micro' ? 6 : 0);
  // APP-NAME has 48 characters at most, MSGID 32, none of them a blank.
  const name = tag.replace(/[^!-~]/g, '_');
  return `<${priority}>1 ${time} ${hostname()} ${name.slice(0, 48)} ${process.pid} ${name.slice(0, 32)} - `;
}

/** `Nov  5 03:04:05`, local time. */
function formatStamp(atUnixNano: bigint): string {
  const date = new Date(Number(atUnixNano / 1_000_000n));
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0'));
  return `${months[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${time.join(':')}`;
}

function formatRfc3339(atUnixNano: bigint, digits: number): string {
  const seconds = new Date(Number(atUnixNano / 1_000_000n)).toISOString().slice(0, 19);
  const fraction = (atUnixNano % 1_000_000_000n).toString().padStart(9, '0').slice(0, digits);
  return `${seconds}${fraction === '' ? '' : `.${fraction}`}Z`;
}
