import { invalidField } from '@flotilla/errors';
import type { LogConfig } from '../container-config.ts';

export interface LogOptions {
  readonly driver: 'json-file' | 'none';
  /** A new file is begun at this size; 0 for never. */
  readonly maxSizeBytes: number;
  readonly maxFiles: number;
}

const defaultMaxSizeBytes = 20 * 1024 ** 2;
const defaultMaxFiles = 5;
const mostFiles = 1000;
const units: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** INVALID_FIELD for other drivers, other options and values that are none. */
export function parseLogOptions(log: LogConfig | undefined): LogOptions {
  const driver = log?.driver || 'json-file';
  if (driver !== 'json-file' && driver !== 'none') throw invalidField('log.driver', 'json-file or none', driver);
  let maxSizeBytes = defaultMaxSizeBytes;
  let maxFiles = defaultMaxFiles;
  for (const [name, value] of Object.entries(log?.options ?? {})) {
    const field = `log.options[${name.slice(0, 100)}]`;
    if (driver === 'none') throw invalidField(field, 'left out with log driver none');
    if (name === 'max-size') maxSizeBytes = parseSize(value, field);
    else if (name === 'max-file') maxFiles = parseCount(value, field);
    else throw invalidField('log.options', 'max-size or max-file', name);
  }
  return { driver, maxSizeBytes, maxFiles };
}

function parseSize(text: string, field: string): number {
  if (text === '-1') return 0;
  const match = /^(\d{1,15})(?:([kmgt]?)i?b?)$/i.exec(text);
  const bytes = Number(match?.[1]) * (units[match?.[2]?.toLowerCase() ?? ''] ?? Number.NaN);
  if (!Number.isSafeInteger(bytes) || bytes < 1) throw invalidField(field, 'a size such as 512k or 20m, or -1', text);
  return bytes;
}

function parseCount(text: string, field: string): number {
  const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > mostFiles) throw invalidField(field, `1 to ${mostFiles}`, text);
  return count;
}
