import { lstatSync, readlinkSync, realpathSync, type Stats, statSync } from 'node:fs';
import { posix, resolve } from 'node:path';
import { FlotillaError } from '@flotilla/errors';
import { followed, lastPart, preserveEnd, splitPath } from './copy-place.ts';
import type { CopyInfo } from './plan-copy.ts';

const mostLinks = 10;

/** A path here, absolute, with the slash or `/.` at its end. */
export function absolutePath(path: string): string {
  return preserveEnd(resolve(path), path);
}

/** What is to be copied from here. A link is copied as a link, unless it is followed or a slash stands behind it. */
export function sourceInfo(path: string, followLink: boolean): CopyInfo {
  const { path: found, rebaseName } = followLink
    ? followed(
        path,
        orNotFound(path, () => realpathSync(path)),
      )
    : withoutLinksAbove(path);
  return { path: found, exists: true, isFolder: orNotFound(path, () => lstatSync(found)).isDirectory(), rebaseName };
}

function withoutLinksAbove(path: string): { readonly path: string; readonly rebaseName: string } {
  const slash = path.lastIndexOf('/');
  const above = orNotFound(path, () => realpathSync(path.slice(0, slash + 1)));
  const found = `${above === '/' ? '' : above}/${path.slice(slash + 1)}`;
  const renamed = path.endsWith('/') && lastPart(path) !== lastPart(found);
  return { path: found, rebaseName: renamed ? lastPart(path) : '' };
}

/** Where something is to be copied here. A link is followed, be it to nothing; the folder above must be there. */
export function destinationInfo(original: string): CopyInfo {
  let path = original;
  let found = findEntry(path);
  for (let links = 0; found?.isSymbolicLink() === true; links++) {
    if (links > mostLinks) throw refused(`too many symlinks in ${original}`, original);
    const target = readlinkSync(path.replace(/(.)\/+$/, '$1'));
    path = target.startsWith('/') ? target : posix.join(splitPath(path).folder, target);
    found = findEntry(path);
  }
  if (found !== undefined) return { path, exists: true, isFolder: found.isDirectory(), rebaseName: '' };
  const { folder } = splitPath(path);
  if (!orNotFound(folder, () => statSync(folder)).isDirectory()) throw refused(`not a directory: ${folder}`, folder);
  return { path, exists: false, isFolder: false, rebaseName: '' };
}

/** Docker's first look at where output goes: its folder must be there, and a device is no place for it. */
export function checkOutputPath(path: string): void {
  const folder = posix.dirname(posix.normalize(path).replace(/(.)\/+$/, '$1'));
  if (statSync(folder, { throwIfNoEntry: false }) === undefined) {
    throw refused(`invalid output path: directory "${folder}" does not exist`, folder);
  }
  const found = statOrNothing(path);
  if (found !== undefined && (found.isBlockDevice() || found.isCharacterDevice())) {
    throw refused(`invalid output path: "${path}" must be a directory or a regular file: got a device`, path);
  }
}

function statOrNothing(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function findEntry(path: string): Stats | undefined {
  return orNotFound(path, () => lstatSync(path, { throwIfNoEntry: false }));
}

function orNotFound<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      const text = `lstat ${path}: no such file or directory`;
      throw new FlotillaError('not_found', text, { reason: 'FILE_NOT_FOUND', metadata: { path }, cause });
    }
    const text = code === 'ENOTDIR' ? `lstat ${path}: not a directory` : message;
    throw new FlotillaError('invalid_argument', text, { reason: 'PATH_INVALID', metadata: { path }, cause });
  }
}

function refused(text: string, path: string): FlotillaError {
  return new FlotillaError('invalid_argument', text, { reason: 'PATH_INVALID', metadata: { path } });
}
