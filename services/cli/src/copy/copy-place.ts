import { posix } from 'node:path';
import { invalidField } from '@flotilla/errors';

/** One side of a copy: a path here, or one in a container. */
export interface CopyPlace {
  /** Undefined for a path here. */
  readonly container: string | undefined;
  /** `-` is standard input or output. */
  readonly path: string;
}

/** Docker's reading of `CONTAINER:PATH`: a path here begins with `/` or `.`, or has no colon. INVALID_FIELD. */
export function parseCopyPlace(text: string, field: string): CopyPlace {
  if (text === '') throw invalidField(field, 'not empty', text);
  const colon = text.indexOf(':');
  if (text.startsWith('/') || text.startsWith('.') || colon === -1) return { container: undefined, path: text };
  return { container: text.slice(0, colon), path: text.slice(colon + 1) };
}

/** A path ends with `.` as its last part. */
export function specifiesFolder(path: string): boolean {
  return path === '.' || path.endsWith('/.');
}

/** A path cleaned, with the slash or `/.` behind it that says that a folder, or what is in it, is meant. */
export function preserveEnd(clean: string, original: string): string {
  let path = clean;
  if (!specifiesFolder(path) && specifiesFolder(original)) path = path.endsWith('/') ? `${path}.` : `${path}/.`;
  if (!path.endsWith('/') && original.endsWith('/')) path = `${path}/`;
  return path;
}

/** The folder that a path is in, and what it is called there: `.` for what is in a folder. */
export function splitPath(path: string): { readonly folder: string; readonly name: string } {
  const clean = posix.normalize(path).replace(/(.)\/+$/, '$1');
  if (specifiesFolder(path)) return { folder: clean, name: '.' };
  return { folder: posix.dirname(clean), name: posix.basename(clean) || '/' };
}

/** A path's last part as it was written; `.` stays. */
export function lastPart(path: string): string {
  const bare = path.replace(/\/+$/, '');
  return bare === '' ? '/' : bare.slice(bare.lastIndexOf('/') + 1);
}

/** What a link's target is called when the link was asked for: the name that is to stand in the archive. */
export function followed(path: string, target: string): { readonly path: string; readonly rebaseName: string } {
  const resolved = preserveEnd(target, path);
  return { path: resolved, rebaseName: lastPart(path) === lastPart(resolved) ? '' : lastPart(path) };
}
