import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '@flotilla/linux';

/** Entries that are looked at together. */
const together = 64;

/**
 * Bytes of all files below a folder, of those with several names once, as Docker counts them: by their length, and folders for
 * nothing. Follows no link. What goes meanwhile, or lies deeper than a path can say, counts for nothing.
 */
export async function treeSize(folder: string, signal?: AbortSignal): Promise<number> {
  const seen = new Set<string>();
  const folders = [folder];
  let bytes = 0;
  const look = async (path: string): Promise<void> => {
    const status = await lstat(path).catch(forgiveGone);
    if (status === undefined) return;
    if (status.isDirectory()) {
      folders.push(path);
      return;
    }
    if (status.nlink > 1) {
      const inode = `${status.dev} ${status.ino}`;
      if (seen.has(inode)) return;
      seen.add(inode);
    }
    bytes += status.size;
  };
  for (let at = folders.pop(); at !== undefined; at = folders.pop()) {
    signal?.throwIfAborted();
    const entries = await opendir(at, { bufferSize: together }).catch(forgiveGone);
    if (entries === undefined) continue;
    let paths: string[] = [];
    for await (const { name } of entries) {
      paths.push(join(at, name));
      if (paths.length < together) continue;
      signal?.throwIfAborted();
      await Promise.all(paths.map(look));
      paths = [];
    }
    await Promise.all(paths.map(look));
  }
  return bytes;
}

function forgiveGone(error: unknown): undefined {
  if (!isErrno(error, 'ENOENT', 'ENOTDIR', 'ENAMETOOLONG')) throw error;
}
