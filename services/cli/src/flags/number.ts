import { invalidField } from '@flotilla/errors';
import { scaleDecimal } from './size.ts';

/** Reads a whole number within bounds. */
export function parseInteger(field: string, text: string, min: number, max: number): number {
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value) || value < min || value > max) {
    throw invalidField(field, `a whole number from ${min} to ${max}`, text);
  }
  return value;
}

/** Reads `1.5` processors as billionths. */
export function parseCpus(field: string, text: string): bigint {
  if (!/^(\d{1,6}(\.\d{1,9})?|\.\d{1,9})$/.test(text))
    throw invalidField(field, 'a number of processors such as 1.5', text);
  return scaleDecimal(text, 1_000_000_000n);
}

/** Reads a flag's `true` or `false`, as Go's strconv.ParseBool. */
export function parseBoolean(field: string, text: string): boolean {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false;
  throw invalidField(field, 'true or false', text);
}
