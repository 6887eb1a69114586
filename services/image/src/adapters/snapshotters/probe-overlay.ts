import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { openFileSystem } from '@flotilla/linux';

/**
 * Why a folder's file system cannot hold a writable layer of overlayfs; undefined when it can. Asks the kernel to do it: some
 * file systems are refused, some are taken and then cannot say that something is hidden.
 */
export function whyNoUpper(root: string): string | undefined {
  const folder = mkdtempSync(join(root, '.probe-'));
  try {
    for (const name of ['lower', 'lower/folder', 'upper', 'work']) mkdirSync(join(folder, name));
    for (const name of ['file', 'folder/hidden']) writeFileSync(join(folder, 'lower', name), '');
    return probe(folder);
  } catch (error) {
    return `${(error as Error).message}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function probe(folder: string): string | undefined {
  const opened = ['lower', 'upper', 'work'].map((name) =>
    openSync(join(folder, name), constants.O_RDONLY | constants.O_DIRECTORY),
  );
  try {
    // By descriptor: fsconfig(2) takes short values only.
    const [lower, upper, work] = opened.map((fd) => `/proc/self/fd/${fd}`);
    const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${work}`];
    const mountFd = openFileSystem({ type: 'overlay', source: 'overlay', options });
    try {
      return hideAll(`/proc/self/fd/${mountFd}`);
    } finally {
      closeSync(mountFd);
    }
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** Takes away what the lower layer has: a whiteout for the file, an opaque folder for the other. */
function hideAll(merged: string): string | undefined {
  rmSync(join(merged, 'file'));
  rmSync(join(merged, 'folder/hidden'));
  rmdirSync(join(merged, 'folder'));
  mkdirSync(join(merged, 'folder'));
  if (existsSync(join(merged, 'file')) || readdirSync(join(merged, 'folder')).length > 0) {
    return 'what is removed comes back';
  }
  return undefined;
}
