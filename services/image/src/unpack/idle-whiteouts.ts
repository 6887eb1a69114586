import { closeSync, constants } from 'node:fs';
import {
  isErrno,
  O_PATH,
  openat2,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  readXattrsAt,
  S_IFCHR,
  S_IFMT,
  statAt,
  unlinkat,
} from '@flotilla/linux';

const { O_DIRECTORY, O_NOFOLLOW } = constants;
const resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/**
 * Takes away whiteouts that hide nothing. overlayfs filters them only out of folders that it merges: in one that is in this layer
 * alone, or is opaque, they would be listed as names that cannot be opened. `below` are the roots of the layers below, uppermost
 * first; paths are relative to the layer's root.
 */
export function removeIdleWhiteouts(root: number, below: readonly number[], paths: readonly string[]): void {
  const covered = new Map<string, boolean>();
  for (const path of paths) {
    if (!isCovered(root, path, covered) && below.some((layer) => shows(layer, path))) continue;
    const cut = path.lastIndexOf('/');
    const parent = openQuietly(root, cut === -1 ? '.' : path.slice(0, cut), O_DIRECTORY);
    if (parent === undefined) continue; // A later entry has replaced it.
    try {
      const name = path.slice(cut + 1);
      if (isWhiteout(parent, name)) unlinkat(parent, name);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    } finally {
      closeSync(parent);
    }
  }
}

/** Whether a folder on the way is opaque: nothing of the layers below is seen in it. `known`: of folders, asked once each. */
function isCovered(root: number, path: string, known: Map<string, boolean>): boolean {
  const end = path.lastIndexOf('/');
  const folder = end === -1 ? '.' : path.slice(0, end);
  const before = known.get(folder);
  if (before !== undefined) return before;
  const covered = isOpaque(root, folder) || (folder !== '.' && isCovered(root, folder, known));
  known.set(folder, covered);
  return covered;
}

function isOpaque(root: number, folder: string): boolean {
  const fd = openQuietly(root, folder, O_DIRECTORY);
  if (fd === undefined) return false;
  try {
    return readXattrsAt(fd, '.').get('trusted.overlay.opaque')?.toString() === 'y';
  } finally {
    closeSync(fd);
  }
}

function shows(layer: number, path: string): boolean {
  const fd = openQuietly(layer, path, 0);
  if (fd === undefined) return false;
  try {
    return !isWhiteout(fd, '');
  } finally {
    closeSync(fd);
  }
}

function isWhiteout(parent: number, name: string): boolean {
  const { mode, specialDevice } = statAt(parent, name);
  return (mode & S_IFMT) === S_IFCHR && specialDevice[0] === 0 && specialDevice[1] === 0;
}

function openQuietly(root: number, path: string, flags: number): number | undefined {
  try {
    return openat2(root, path, { flags: O_PATH | O_NOFOLLOW | flags, resolve });
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV')) return undefined;
    throw error;
  }
}
