import { chmodSync, closeSync, constants, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { syncfs } from '@flotilla/linux';
import { shred } from '../shred.ts';
import { workOnFolders } from '../trees/tree-thread.ts';
import { bindOf } from './overlayfs.ts';
import type { MountDescription, Snapshotter } from './snapshotter.ts';
import { beginMerge, finishMerge } from './whole-roots.ts';

/**
 * Plain copies, for any file system: every layer is a whole root, copied from the one below, and so is every snapshot. Where the
 * file system can share blocks (XFS, btrfs, bcachefs), the copies share them.
 */
export class NativeSnapshotter implements Snapshotter {
  readonly name = 'native';
  readonly stacked = false;

  async beginLayer(folder: string, parent: string | undefined, signal?: AbortSignal): Promise<string> {
    await copyRoot(folder, parent, signal);
    return beginMerge(folder);
  }

  finishLayer(folder: string, signal?: AbortSignal): Promise<void> {
    return finishMerge(folder, signal);
  }

  async makeSnapshot(folder: string, [top]: readonly string[], signal?: AbortSignal): Promise<void> {
    await copyRoot(folder, top, signal);
    flush(folder); // Its name must not outlive a power cut that its files do not.
  }

  mounts(folder: string): MountDescription[] {
    return [bindOf(join(folder, 'fs'))];
  }

  remove(folder: string): Promise<void> {
    return shred(folder);
  }
}

async function copyRoot(folder: string, parent: string | undefined, signal?: AbortSignal): Promise<void> {
  const root = join(folder, 'fs');
  mkdirSync(folder, { mode: 0o700 });
  mkdirSync(root);
  chmodSync(root, 0o755);
  if (parent !== undefined) await workOnFolders('copy', parent, root, signal);
}

function flush(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    syncfs(fd);
  } finally {
    closeSync(fd);
  }
}
