import { closeSync, constants, existsSync, mkdirSync, openSync, readdirSync, renameSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, renameat, syncfs } from '@flotilla/linux';
import { flushFolder } from './flush-folder.ts';
import { copyFolderAttributes } from './trees/copy-tree.ts';
import { workOnTrees } from './trees/tree-thread.ts';

/** Where the files of a volume are, and the folder of it that holds this one. */
export interface VolumeFolders {
  readonly folder: string;
  readonly data: string;
}

const openFolder = (path: string) => openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);

/**
 * Copies a folder of an image, open, into a volume that is empty. The copy is made beside and moved in when it is whole, so
 * that one that was cut off is begun anew; moved name by name, as a container may have the volume's folder mounted.
 */
export async function fillVolume(from: number, volume: VolumeFolders): Promise<void> {
  const { folder, data } = volume;
  if (await finishFilling(volume)) return;
  if (readdirSync(data).length > 0) return;
  const filling = join(folder, 'filling');
  await rm(filling, { recursive: true, force: true });
  mkdirSync(filling, { mode: 0o755 });
  await copyInto(from, filling);
  renameSync(filling, join(folder, 'filled'));
  flushFolder(folder);
  await finishFilling(volume);
}

/** Whether it is empty, or a copy into it was cut off. */
export function isToBeFilled({ folder, data }: VolumeFolders): boolean {
  return existsSync(join(folder, 'filled')) || readdirSync(data).length === 0;
}

/** Moves a copy that is whole into its volume. False when there is none. */
export async function finishFilling({ folder, data }: VolumeFolders): Promise<boolean> {
  const filled = join(folder, 'filled');
  if (!existsSync(filled)) return false;
  const from = openFolder(filled);
  const to = openFolder(data);
  try {
    const names = readdirSync(filled);
    for (const name of names) {
      try {
        renameat(from, name, to, name, false);
      } catch (error) {
        // A container was faster: what is its own stays.
        if (!isErrno(error, 'EEXIST')) throw error;
        await rm(join(filled, name), { recursive: true, force: true });
      }
    }
    copyFolderAttributes(from, to);
    syncfs(to);
  } finally {
    closeSync(from);
    closeSync(to);
  }
  await rmdir(filled);
  flushFolder(folder);
  return true;
}

/** The same for a volume on a file system of its own, as Docker does it: a copy that was cut off stays as it is. */
export async function fillMounted(from: number, data: string): Promise<void> {
  if (readdirSync(data).length === 0) await copyInto(from, data);
}

async function copyInto(from: number, path: string): Promise<void> {
  const to = openFolder(path);
  try {
    await workOnTrees('copy', from, to);
    syncfs(to);
  } finally {
    closeSync(to);
  }
}
