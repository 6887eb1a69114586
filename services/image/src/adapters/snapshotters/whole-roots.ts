import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { shred } from '../shred.ts';
import { workOnFolders } from '../trees/tree-thread.ts';

/** A layer is unpacked beside a copy of the root below it, and moved over that: the same confined unpacker for all. */
export function beginMerge(folder: string): string {
  const directory = join(folder, 'unpacked');
  mkdirSync(directory);
  chmodSync(directory, 0o755);
  return directory;
}

export async function finishMerge(folder: string, signal?: AbortSignal): Promise<void> {
  const directory = join(folder, 'unpacked');
  await workOnFolders('merge', directory, join(folder, 'fs'), signal);
  await shred(directory);
}
