import { localFormat } from './local-records.ts';
import type { LogFormat } from './log-format.ts';
import { jsonFormat } from './log-records.ts';

/** How each driver's files are read. */
export const logFormats: Readonly<Record<'json-file' | 'local', LogFormat>> = {
  'json-file': jsonFormat,
  local: localFormat,
};
