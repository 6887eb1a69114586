import { invalidField } from '@flotilla/errors';
import { findDuration } from './duration.ts';

const rfc3339 = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2})(?::(\d{2}))?(?::(\d{2})(?:\.(\d{1,9}))?)?(Z|[+-]\d{2}:\d{2})?)?Z?$/;

/**
 * Reads the time of `--since` and `--until`: a duration before now (`10m`), seconds since the Unix epoch with an optional
 * fraction, or a date as in RFC 3339 or the beginning of one (`2026-11-24T22:50:00.5Z`, `2026-11-24T22:50`, `2026-11-24T22`,
 * `2026-11-24`; local time without a zone). Returns nanoseconds since the Unix epoch.
 */
export function parseTimestamp(field: string, text: string, nowUnixNano: bigint): bigint {
  const unix = /^(\d{1,12})(?:\.(\d{1,9}))?$/.exec(text);
  if (unix !== null) return BigInt(unix[1] ?? 0) * 1_000_000_000n + BigInt((unix[2] ?? '').padEnd(9, '0'));
  const ago = findDuration(text);
  if (ago !== undefined) return nowUnixNano - ago;
  const date = rfc3339.exec(text);
  if (date !== null) {
    const [, day = '', hours = '00', minutes = '00', seconds = '00', fraction = '', zone] = date;
    const suffix = zone ?? (text.endsWith('Z') ? 'Z' : '');
    const millis = Date.parse(`${day}T${hours}:${minutes}:${seconds}${suffix}`);
    if (!Number.isNaN(millis)) return BigInt(millis) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
  }
  throw invalidField(field, 'a duration (10m), seconds since 1970 or a date (2026-11-24T22:50:00Z)', text);
}
