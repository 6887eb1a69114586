import { FlotillaError } from '@flotilla/errors';
import { statAt } from '@flotilla/linux';
import { type TarEntry, tarEnd, tarHeader } from '@flotilla/oci/tar-header';
import { type BytePath, findText, forPeople, join } from './byte-path.ts';
import { type ChangedTree, changedFiles } from './changed-files.ts';
import { FileEntries } from './file-entries.ts';
import type { TarOutput } from './tar-output.ts';

const whiteout = '.wh.';
const opaque = '.wh..wh..opq';
const longestPath = 4_096;

/**
 * Writes what a container changed as a layer (OCI image-spec, layer.md): files as they are, `.wh.NAME` for what is deleted,
 * `.wh..wh..opq` in a folder that took another's place. The same files give the same bytes. Returns the number of entries.
 * FAILED_PRECONDITION / LAYER_NAME_RESERVED, FILE_NAME_INVALID.
 */
export function writeLayer(tree: ChangedTree, mountPoints: readonly string[], output: TarOutput): number {
  const files = new FileEntries(output);
  let entries = 0;
  const add = (entry: TarEntry) => {
    output.write(tarHeader(entry));
    entries++;
  };
  const root = changedRoot(tree);
  if (root !== undefined) add(root);
  for (const file of changedFiles(tree, mountPoints)) {
    checkPath(file.path);
    switch (file.kind) {
      case 'present':
        if (file.name.startsWith(whiteout)) throw nameReserved(file.path);
        if (files.write(file)) entries++;
        break;
      case 'deleted':
        add(marker(hiding(file.path)));
        break;
      case 'replaced':
        // Within another one, that one's mark hides all.
        if (!file.within) add(marker(join(file.path, opaque)));
    }
  }
  output.write(tarEnd);
  return entries;
}

/** The root, when it has another owner or mode than the image's. */
function changedRoot({ upper, lower }: ChangedTree): TarEntry | undefined {
  const { mode, uid, gid, modifiedUnixNano } = statAt(upper, '');
  const before = lower === undefined ? { mode: 0o40755, uid: 0, gid: 0 } : statAt(lower, '');
  if (mode === before.mode && uid === before.uid && gid === before.gid) return undefined;
  return { path: '.', type: 'directory', mode: mode & 0o7777, uid, gid, modifiedUnixNano, sizeBytes: 0 };
}

function marker(path: BytePath): TarEntry {
  return { path, type: 'file', mode: 0o600, uid: 0, gid: 0, sizeBytes: 0, modifiedUnixNano: 0n };
}

function hiding(path: BytePath): BytePath {
  const slash = path.lastIndexOf('/') + 1;
  return `${path.slice(0, slash)}${whiteout}${path.slice(slash)}`;
}

function checkPath(path: BytePath): void {
  if (findText(path) === undefined) throw nameInvalid(path, 'is not UTF-8');
  if (path.length > longestPath) throw nameInvalid(path, `is longer than ${longestPath} bytes`);
}

function nameInvalid(path: BytePath, problem: string): FlotillaError {
  const name = short(path);
  return new FlotillaError('failed_precondition', `the path of ${name} ${problem}: no layer can have it`, {
    reason: 'FILE_NAME_INVALID',
    metadata: { path: name, problem },
  });
}

function nameReserved(path: BytePath): FlotillaError {
  const name = short(path);
  return new FlotillaError(
    'failed_precondition',
    `${name} begins with ${whiteout}, which in a layer means that something is deleted: rename it`,
    { reason: 'LAYER_NAME_RESERVED', metadata: { path: name } },
  );
}

function short(path: BytePath): string {
  const text = `/${forPeople(path)}`;
  return JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text);
}
