import { tarEnd } from '@flotilla/oci/tar-header';
import { type BytePath, toBytePath } from '../archive/byte-path.ts';
import { FileEntries } from '../archive/file-entries.ts';
import { checkDepth, findFolder, findStatus, isFolder, namesIn } from '../archive/open-folder.ts';
import type { TarOutput } from '../archive/tar-output.ts';
import { type FoundPath, isKernels } from './find-path.ts';

/** Writes a path that was found as a tar whose entries begin with its name. What goes away meanwhile is left out. */
export function readPath({ stat, status, folder, parent }: FoundPath, lastPart: string, output: TarOutput): void {
  const files = new FileEntries(output);
  const name = toBytePath(stat.name === '/' ? '' : stat.name);
  if (folder !== undefined) {
    files.write({ parent: folder, name: '.', path: name, status });
    writeFolder(folder, name, { files, device: status.device.join(), isRoot: stat.name === '/' });
  } else if (parent !== undefined) files.write({ parent, name: toBytePath(lastPart), path: name, status });
  output.write(tarEnd);
  output.end();
}

interface Walk {
  readonly files: FileEntries;
  /** Of the folder that is being read. */
  readonly device: string;
  /** It is the container's root. */
  readonly isRoot: boolean;
}

function writeFolder(folder: number, path: BytePath, { files, device, isRoot }: Walk): void {
  for (const name of namesIn(folder)) {
    const status = findStatus(folder, name);
    if (status === undefined) continue; // Gone since the names were read.
    const here = `${path}/${name}`;
    if (!files.write({ parent: folder, name, path: here, status }) || !isFolder(status)) continue;
    checkDepth(here);
    const inner = status.device.join();
    // The engine's own /dev is no more the container's than /proc is.
    if (isRoot && name === 'dev' && inner !== device) continue;
    using opened = findFolder(folder, name);
    if (opened === undefined || (inner !== device && isKernels(opened.fd))) continue;
    writeFolder(opened.fd, here, { files, device: inner, isRoot: false });
  }
}
