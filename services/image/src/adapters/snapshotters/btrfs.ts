import { chmodSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createSubvolume, isErrno, removeSubvolume, snapshotSubvolume } from '@flotilla/linux';
import { shred } from '../shred.ts';
import { bindOf } from './overlayfs.ts';
import type { MountDescription, Snapshotter } from './snapshotter.ts';
import { beginMerge, finishMerge } from './whole-roots.ts';

/**
 * The folder of every layer and snapshot is a subvolume with a whole root in it, which begins as a snapshot of the one below: all
 * blocks are shared until they are written.
 */
export class BtrfsSnapshotter implements Snapshotter {
  readonly name = 'btrfs';
  readonly stacked = false;

  async beginLayer(folder: string, parent: string | undefined): Promise<string> {
    branch(folder, parent);
    return beginMerge(folder);
  }

  finishLayer(folder: string, signal?: AbortSignal): Promise<void> {
    return finishMerge(folder, signal);
  }

  makeSnapshot(folder: string, [top]: readonly string[]): void {
    branch(folder, top);
  }

  mounts(folder: string): MountDescription[] {
    return [bindOf(join(folder, 'fs'))];
  }

  /** All at once, unless a container has made subvolumes of its own, which go one by one with the rest. */
  async remove(folder: string): Promise<void> {
    try {
      removeSubvolume(folder);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return;
      if (!isErrno(error, 'ENOTEMPTY', 'EINVAL', 'ENOTDIR', 'ELOOP')) throw error;
      await shred(folder);
    }
  }
}

function branch(folder: string, parent: string | undefined): void {
  if (parent !== undefined) {
    snapshotSubvolume(dirname(parent), folder);
    return;
  }
  createSubvolume(folder);
  const root = join(folder, 'fs');
  mkdirSync(root);
  chmodSync(root, 0o755);
}
