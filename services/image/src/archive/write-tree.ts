import { tarEnd } from '@flotilla/oci/tar-header';
import { type BytePath, join } from './byte-path.ts';
import { FileEntries } from './file-entries.ts';
import { checkDepth, findFolder, findStatus, isFolder, namesIn } from './open-folder.ts';
import type { TarOutput } from './tar-output.ts';

/** Writes all that is in an open folder as a tar, in the order of the names' bytes. The folder itself has no entry. */
export function writeTree(folder: number, output: TarOutput): void {
  writeFolder(folder, '', new FileEntries(output));
  output.write(tarEnd);
}

function writeFolder(folder: number, path: BytePath, files: FileEntries): void {
  for (const name of namesIn(folder)) {
    const status = findStatus(folder, name);
    if (status === undefined) continue; // Gone since the names were read.
    const here = join(path, name);
    if (!files.write({ parent: folder, name, path: here, status }) || !isFolder(status)) continue;
    checkDepth(here);
    using inner = findFolder(folder, name);
    if (inner !== undefined) writeFolder(inner.fd, here, files);
  }
}
