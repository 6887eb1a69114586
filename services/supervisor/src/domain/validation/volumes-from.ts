import { invalidField } from '@flotilla/errors';

/** Reads `volumes_from`: a container, and whether its mounts are read-only. INVALID_FIELD. */
export function parseVolumesFrom(
  text: string,
  field: string,
): { readonly container: string; readonly readOnly: boolean } {
  const colon = text.indexOf(':');
  const container = colon === -1 ? text : text.slice(0, colon);
  const modes = colon === -1 ? [] : text.slice(colon + 1).split(',');
  const access = modes.filter((mode) => mode === 'ro' || mode === 'rw');
  // The labels of SELinux are accepted where there is none, as for mounts.
  const isKnown = modes.every((mode) => ['ro', 'rw', 'z', 'Z'].includes(mode));
  if (container === '' || !isKnown || access.length > 1 || new Set(modes).size < modes.length) {
    throw invalidField(field, 'a container, with :ro or :rw after it', text);
  }
  return { container, readOnly: access[0] === 'ro' };
}
