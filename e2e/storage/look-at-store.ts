import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Tree } from './sample-images.ts';

const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

/** Blobs whose content is not what their name says. */
export function wrongBlobs(folder: string): string[] {
  const blobs = join(folder, 'content/blobs/sha256');
  return readdirSync(blobs).filter((name) => sha256(join(blobs, name)) !== name);
}

export const blobsOf = (folder: string): readonly string[] => readdirSync(join(folder, 'content/blobs/sha256'));

/** All there is in the store, by folder. */
export function contentsOf(folder: string): Readonly<Record<string, readonly string[]>> {
  const folders = ['content/blobs/sha256', 'content/ingest', 'layers', 'snapshots', 'trash'];
  return Object.fromEntries(folders.map((name) => [name, readdirSync(join(folder, name)).sort()]));
}

/** What differs between a root and what it must be. */
export function differences(root: string, expected: Tree): string[] {
  const found = new Map<string, string>();
  look(root, '', found);
  const wrong: string[] = [];
  for (const [path, what] of found) {
    if (expected.get(path) !== what) wrong.push(`${path} is ${what}, not ${expected.get(path) ?? 'absent'}`);
  }
  for (const [path, what] of expected) if (!found.has(path)) wrong.push(`${path} is absent, not ${what}`);
  return wrong;
}

function look(root: string, folder: string, found: Map<string, string>): void {
  for (const name of readdirSync(join(root, folder))) {
    const path = folder === '' ? name : `${folder}/${name}`;
    const status = lstatSync(join(root, path));
    const mode = (status.mode & 0o7777).toString(8);
    if (status.isDirectory()) {
      found.set(path, `folder ${mode}`);
      look(root, path, found);
    } else if (status.isSymbolicLink()) found.set(path, `symlink ${readlinkSync(join(root, path))}`);
    else if (status.isFile()) found.set(path, `file ${mode} ${sha256(join(root, path))}`);
    else found.set(path, `mode ${status.mode.toString(8)}`);
  }
}
