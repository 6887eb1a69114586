import { randomUUID } from 'node:crypto';
import { readdir, rename, rm, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isErrno } from '@flotilla/linux';

/**
 * Removes a tree that nobody uses any more. A container can nest folders deeper than a path may be long; such a tree is
 * taken apart beside itself. Follows no link.
 */
export async function shred(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    if (!isErrno(error, 'ENAMETOOLONG')) throw error;
    await takeApart(path);
  }
}

async function takeApart(path: string): Promise<void> {
  const left = [path];
  for (let folder = left.pop(); folder !== undefined; folder = left.pop()) {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const child = join(folder, entry.name);
      if (!entry.isDirectory()) {
        await unlink(child);
        continue;
      }
      const beside = join(dirname(path), `.gone-${randomUUID()}`);
      await rename(child, beside);
      left.push(beside);
    }
    await rmdir(folder);
  }
}
