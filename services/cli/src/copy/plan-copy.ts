import { FlotillaError } from '@flotilla/errors';
import { splitPath } from './copy-place.ts';

/** What is known of one side of a copy. */
export interface CopyInfo {
  readonly path: string;
  readonly exists: boolean;
  readonly isFolder: boolean;
  /** What its entries are to be called; empty for its own name. */
  readonly rebaseName: string;
}

/** Where an archive is unpacked, and what its entries are called there. */
export interface CopyPlan {
  readonly folder: string;
  readonly rename: (name: string) => string;
}

/**
 * Docker's rules for where a copy goes: into a folder that is there; over a file that is there; to a name that is not, in a
 * folder that is. A folder cannot be copied onto a file, nor a file into a folder that is not there.
 */
export function planCopy(source: CopyInfo, destination: CopyInfo): CopyPlan {
  const { folder, name } = splitPath(destination.path);
  const oldName = source.rebaseName || splitPath(source.path).name;
  if (destination.exists && destination.isFolder) return { folder: destination.path, rename: (one) => one };
  if (destination.exists && source.isFolder) {
    throw refusal('cannot copy directory', 'CANNOT_COPY_DIRECTORY', destination.path);
  }
  if (!destination.exists && !source.isFolder && destination.path.endsWith('/')) {
    throw refusal('no such directory', 'DIRECTORY_NOT_FOUND', destination.path);
  }
  return { folder, rename: renaming(oldName, name) };
}

/** Renames what begins with a name. The root's entries begin with a slash, which stays. */
export function renaming(oldName: string, newName: string): (name: string) => string {
  const old = oldName === '/' ? '' : oldName;
  return (name) => name.replace(old, () => newName);
}

function refusal(text: string, reason: string, path: string): FlotillaError {
  return new FlotillaError('invalid_argument', text, { reason, metadata: { path } });
}
