import { posix } from 'node:path';
import { invalidField } from '@flotilla/errors';

/** A path in a container, as Docker reads one. */
export interface ContainerPath {
  /** As it was given. */
  readonly text: string;
  /** Components below the root. */
  readonly parts: readonly string[];
  /** What the entries of its tar begin with: the last part, `.` or `/`. */
  readonly name: string;
  /** A slash, or `/.`, stands behind it: it must be a folder, and a link is followed. */
  readonly isFolder: boolean;
}

const longestPath = 4_095;

/** Reads a path: `..` goes up by its text, before any link is looked at, as in Docker. INVALID_FIELD. */
export function parseContainerPath(text: string, field = 'path'): ContainerPath {
  if (text === '') throw invalidField(field, 'a path in the container', text);
  if (text.includes('\0')) throw invalidField(field, 'a path without a zero byte');
  if (Buffer.byteLength(text) > longestPath) throw invalidField(field, `at most ${longestPath} bytes`);
  const clean = posix.resolve('/', text);
  const parts = clean.split('/').filter((part) => part !== '');
  const last = text.slice(text.lastIndexOf('/') + 1);
  if (last === '.') return { text, parts, name: '.', isFolder: true };
  return { text, parts, name: parts.at(-1) ?? '/', isFolder: parts.length === 0 || last === '' };
}
