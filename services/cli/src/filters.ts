import { invalidField } from '@flotilla/errors';

/** Reads `--filter key=value` flags into lists by key. A key that the command does not know is an error. */
export function parseFilters(texts: readonly string[] | undefined, known: readonly string[]): Map<string, string[]> {
  const filters = new Map<string, string[]>();
  for (const text of texts ?? []) {
    const equals = text.indexOf('=');
    const key = text.slice(0, equals);
    if (equals <= 0 || !known.includes(key)) {
      throw invalidField('--filter', `key=value with a key of ${known.join(', ')}`, text);
    }
    filters.set(key, [...(filters.get(key) ?? []), text.slice(equals + 1)]);
  }
  return filters;
}
