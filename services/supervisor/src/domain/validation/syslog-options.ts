import { invalidField } from '@flotilla/errors';

export interface SyslogAddress {
  readonly type: 'unix' | 'unixgram';
  readonly path: string;
}

export const syslogFormats: readonly string[] = ['rfc3164', 'rfc5424', 'rfc5424micro'];

/** sun_path of unix(7), without the NUL. */
const longestPathBytes = 106;
/** By number: syslog(3). */
const facilities = (
  'kern user mail daemon auth syslog lpr news uucp cron authpriv ftp . . . . ' +
  'local0 local1 local2 local3 local4 local5 local6 local7'
).split(' ');

/** INVALID_FIELD unless it is a socket of this host: a daemon elsewhere is reached through the local one. */
export function parseSyslogAddress(text: string): SyslogAddress {
  const match = /^(unix|unixgram):\/\/(\/[^\0]+)$/.exec(text);
  if (match === null || Buffer.byteLength(match[2]!) > longestPathBytes) {
    const expected = `unix:///path or unixgram:///path of a local socket, at most ${longestPathBytes} bytes`;
    throw invalidField('log.options[syslog-address]', expected, text);
  }
  return { type: match[1] as SyslogAddress['type'], path: match[2]! };
}

/** A facility by name or number. */
export function parseSyslogFacility(text: string, field: string): number {
  const facility = /^\d{1,2}$/.test(text) ? Number(text) : facilities.indexOf(text);
  if (text === '.' || facility < 0 || facility > 23) {
    throw invalidField(field, `0 to 23 or one of ${facilities.filter((name) => name !== '.').join(', ')}`, text);
  }
  return facility;
}
