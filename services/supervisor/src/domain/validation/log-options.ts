import { setFlagsFromString } from 'node:v8';
import { invalidField } from '@flotilla/errors';
import type { LogConfig } from '../container-config.ts';
import { checkTag } from './log-tag.ts';
import { parseSyslogAddress, parseSyslogFacility, type SyslogAddress, syslogFormats } from './syslog-options.ts';

export const logDrivers = ['json-file', 'local', 'journald', 'syslog', 'none'] as const;
export type LogDriverName = (typeof logDrivers)[number];

export interface LogOptions {
  readonly driver: LogDriverName;
  /** Of drivers with files: a new file is begun at this size; 0 for never. */
  readonly maxSizeBytes: number;
  readonly maxFiles: number;
  /** A template; `undefined` when none was given. */
  readonly tag: string | undefined;
  /** Names of labels and of variables that are written with each entry. */
  readonly labels: readonly string[];
  readonly env: readonly string[];
  /** The same, by what their names match. */
  readonly labelsPattern: RegExp | undefined;
  readonly envPattern: RegExp | undefined;
  /** So much waits of each stream when the driver takes nothing; 0: the container waits. */
  readonly nonBlockingBufferBytes: number;
  readonly syslog: SyslogOptions;
}

export interface SyslogOptions {
  readonly address: SyslogAddress;
  readonly facility: number;
  /** Empty for the usual one of a local daemon. */
  readonly format: string;
}

const defaultMaxSizeBytes = 20 * 1024 ** 2;
const defaultMaxFiles = 5;
const mostFiles = 1000;
const defaultBufferBytes = 1024 ** 2;
/** More than a shim reads at once, twice. */
const smallestBufferBytes = 1024 ** 2;
const mostNames = 32;
const longestPattern = 256;
const largestBufferBytes = 64 * 1024 ** 2;
const units: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

const files = ['max-size', 'max-file', 'compress'];
const attributes = ['labels', 'labels-regex', 'env', 'env-regex', 'tag'];
const modes = ['mode', 'max-buffer-size'];
const optionsOf: Readonly<Record<LogDriverName, readonly string[]>> = {
  'json-file': [...files, ...attributes, ...modes],
  local: [...files, ...modes],
  journald: [...attributes, ...modes],
  syslog: ['syslog-address', 'syslog-facility', 'syslog-format', 'tag', ...modes],
  none: [],
};

/** INVALID_FIELD for other drivers, options that the driver does not have, and values that are none. */
export function parseLogOptions(log: LogConfig | undefined): LogOptions {
  const driver = parseDriver(log?.driver || 'json-file');
  const given = new Map(Object.entries(log?.options ?? {}));
  for (const name of given.keys()) checkOption(driver, name);
  const option = <T>(name: string, parse: (text: string, field: string) => T, otherwise: T): T => {
    const text = given.get(name);
    return text === undefined ? otherwise : parse(text, `log.options[${name}]`);
  };
  option('compress', checkNoCompression, undefined);
  option('tag', checkTag, undefined);
  return {
    driver,
    maxSizeBytes: option('max-size', parseFileSize, defaultMaxSizeBytes),
    maxFiles: option('max-file', parseCount, defaultMaxFiles),
    tag: given.get('tag'),
    labels: option('labels', parseNames, []),
    env: option('env', parseNames, []),
    labelsPattern: option('labels-regex', parsePattern, undefined),
    envPattern: option('env-regex', parsePattern, undefined),
    nonBlockingBufferBytes: parseMode(given),
    syslog: {
      address: parseSyslogAddress(given.get('syslog-address') ?? 'unix:///dev/log'),
      facility: option('syslog-facility', parseSyslogFacility, 3),
      format: option('syslog-format', parseFormat, ''),
    },
  };
}

function parseDriver(name: string): LogDriverName {
  const driver = logDrivers.find((one) => one === name);
  if (driver === undefined) throw invalidField('log.driver', `one of ${logDrivers.join(', ')}`, name);
  return driver;
}

function checkOption(driver: LogDriverName, name: string): void {
  const known = optionsOf[driver];
  if (known.includes(name)) return;
  if (known.length === 0)
    throw invalidField(`log.options[${name.slice(0, 100)}]`, `left out with log driver ${driver}`);
  throw invalidField('log.options', `options of log driver ${driver}: ${known.join(', ')}`, name);
}

function checkNoCompression(text: string, field: string): undefined {
  if (text !== 'false') throw invalidField(field, 'false: rotated files are not compressed', text);
}

function parseMode(given: ReadonlyMap<string, string>): number {
  const mode = given.get('mode') ?? 'blocking';
  const size = given.get('max-buffer-size');
  if (mode !== 'blocking' && mode !== 'non-blocking') {
    throw invalidField('log.options[mode]', 'blocking or non-blocking', mode);
  }
  const field = 'log.options[max-buffer-size]';
  if (mode === 'blocking') {
    if (size !== undefined) throw invalidField(field, 'left out unless mode is non-blocking', size);
    return 0;
  }
  const bytes = size === undefined ? defaultBufferBytes : parseSize(size, field);
  if (bytes < smallestBufferBytes || bytes > largestBufferBytes) throw invalidField(field, '1m to 64m', size);
  return bytes;
}

function parseFileSize(text: string, field: string): number {
  return text === '-1' ? 0 : parseSize(text, field);
}

function parseSize(text: string, field: string): number {
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

function parseNames(text: string, field: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.includes('') || names.length > mostNames) {
    throw invalidField(field, `at most ${mostNames} names with commas between them`, text);
  }
  return names;
}

/**
 * V8's engine for the flag `l` takes a time that is linear in the text, as Go's does for Docker: with the usual one a pattern
 * such as `(a+)+$` would hold up all containers for as good as ever. Like Go's it knows no look-around and no back-references;
 * nor does it repeat anything more than 16 times.
 */
setFlagsFromString('--enable-experimental-regexp-engine');

function parsePattern(text: string, field: string): RegExp {
  try {
    if (text.length <= longestPattern) return new RegExp(text, 'l');
  } catch {
    // Answered below.
  }
  throw invalidField(
    field,
    `a regular expression of at most ${longestPattern} characters, without look-around, back-references and repetitions beyond 16`,
    text,
  );
}

function parseFormat(text: string, field: string): string {
  if (!syslogFormats.includes(text)) throw invalidField(field, `one of ${syslogFormats.join(', ')}`, text);
  return text;
}

/** Whether a driver keeps files of its own, which can be read. */
export function hasLogFile(driver: string): driver is 'json-file' | 'local' {
  return driver === 'json-file' || driver === 'local';
}

/** The driver of a container that was accepted. */
export function logDriverOf(log: LogConfig | undefined): LogDriverName {
  return parseDriver(log?.driver || 'json-file');
}
