const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** A duration as Docker says it: `5 seconds`, `About a minute`, `3 weeks`. */
export function formatDuration(seconds: number): string {
  const whole = (unit: number) => Math.floor(seconds / unit);
  if (seconds < 1) return 'Less than a second';
  if (seconds < minute) return plural(whole(1), 'second');
  if (whole(minute) === 1) return 'About a minute';
  if (seconds < hour) return plural(whole(minute), 'minute');
  const hours = Math.round(seconds / hour);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return plural(hours, 'hour');
  if (hours < 24 * 7 * 2) return plural(whole(day), 'day');
  if (hours < 24 * 30 * 2) return plural(Math.floor(hours / 24 / 7), 'week');
  if (hours < 24 * 365 * 2) return plural(Math.floor(hours / 24 / 30), 'month');
  return plural(Math.floor(hours / 24 / 365), 'year');
}

/** Time since a point in nanoseconds since the Unix epoch, `5 seconds`. */
export function formatSince(unixNano: bigint, nowMs: number): string {
  return formatDuration(Math.max(nowMs - Number(unixNano / 1_000_000n), 0) / 1000);
}

function plural(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

/** Bytes as Docker says them, in three digits unless told, units of 1000: `4.86MB`, `117MB`. */
export function formatSize(bytes: bigint, digits = 3): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(digits))}${units[unit]}`;
}

/** Bytes in units of 1024, as Docker shows limits: `512MiB`. */
export function formatBinarySize(bytes: bigint): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = Number(bytes);
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toPrecision(4))}${units[unit]}`;
}

/** RFC 3339 with all nine digits, in UTC. */
export function formatTimestamp(unixNano: bigint): string {
  const seconds = unixNano / 1_000_000_000n;
  const fraction = String(unixNano % 1_000_000_000n).padStart(9, '0');
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}

/** `2026-11-24 22:50:08 +0000 UTC`, as Docker's CreatedAt. */
export function formatDate(unixNano: bigint): string {
  if (unixNano === 0n) return 'N/A';
  return `${new Date(Number(unixNano / 1_000_000n)).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`;
}

/** Cuts a text to a length, with an ellipsis as its last character. */
export function ellipsis(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** The twelve digits under which an id is shown, without `sha256:`. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}
