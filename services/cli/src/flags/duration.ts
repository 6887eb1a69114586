import { invalidField } from '@flotilla/errors';
import { findDuration } from '@flotilla/oci';

export { findDuration };

/** As findDuration, but anything else is an error that names the flag. */
export function parseDuration(field: string, text: string): bigint {
  const nanos = findDuration(text);
  if (nanos === undefined) throw invalidField(field, 'a duration such as 30s, 1m30s or 500ms', text);
  return nanos;
}
