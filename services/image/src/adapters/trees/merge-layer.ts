import { closeSync, constants, readdirSync } from 'node:fs';
import {
  isErrno,
  openat,
  readXattrsAt,
  removeAt,
  removexattrAt,
  renameat,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  statAt,
  unlinkat,
  utimensat,
} from '@flotilla/linux';
import { type Checkpoint, copyAttributes } from './copy-tree.ts';

const directory = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const opaque = 'trusted.overlay.opaque';

/**
 * Moves a layer in overlayfs's form, as it was unpacked, over a whole root on the same file system: what overlayfs would show of
 * the two is what is there afterwards. The layer's folder is left with empty folders.
 */
export function mergeLayer(layer: number, root: number, checkpoint: Checkpoint): void {
  if (isOpaque(layer, '.')) for (const name of readdirSync(`/proc/self/fd/${root}`)) removeAt(root, name);
  mergeDirectory(layer, root, checkpoint);
}

function mergeDirectory(layer: number, root: number, checkpoint: Checkpoint): void {
  const status = statAt(layer, ''); // before its time changes with what is moved out
  for (const name of readdirSync(`/proc/self/fd/${layer}`)) {
    checkpoint();
    const { mode, specialDevice } = statAt(layer, name);
    if (isWhiteout(mode, specialDevice)) removeAt(root, name);
    else if ((mode & S_IFMT) !== S_IFDIR) replace(layer, root, name);
    else if (!isOpaque(layer, name) && isDirectory(root, name)) {
      within(layer, name, (below) => within(root, name, (at) => mergeDirectory(below, at, checkpoint)));
    } else {
      within(layer, name, (below) => clean(below, checkpoint));
      replace(layer, root, name);
    }
  }
  copyAttributes(layer, '.', root, '.', status);
}

function replace(layer: number, root: number, name: string): void {
  removeAt(root, name);
  renameat(layer, name, root, name);
}

/** Takes away what only says something about layers below; times stay. */
function clean(folder: number, checkpoint: Checkpoint): void {
  const { modifiedUnixNano } = statAt(folder, '');
  let changed = false;
  for (const name of readdirSync(`/proc/self/fd/${folder}`)) {
    checkpoint();
    const { mode, specialDevice } = statAt(folder, name);
    if (isWhiteout(mode, specialDevice)) {
      unlinkat(folder, name);
      changed = true;
    } else if ((mode & S_IFMT) === S_IFDIR) within(folder, name, (below) => clean(below, checkpoint));
  }
  if (isOpaque(folder, '.')) removexattrAt(folder, '.', opaque);
  if (changed) utimensat(folder, '.', modifiedUnixNano);
}

function isWhiteout(mode: number, specialDevice: readonly [number, number]): boolean {
  return (mode & S_IFMT) === S_IFCHR && specialDevice[0] === 0 && specialDevice[1] === 0;
}

function isOpaque(parent: number, name: string): boolean {
  return readXattrsAt(parent, name).has(opaque);
}

function isDirectory(parent: number, name: string): boolean {
  try {
    return (statAt(parent, name).mode & S_IFMT) === S_IFDIR;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}

function within(parent: number, name: string, work: (fd: number) => void): void {
  const fd = openat(parent, name, directory);
  try {
    work(fd);
  } finally {
    closeSync(fd);
  }
}
