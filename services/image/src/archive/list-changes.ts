import { type FileStatus, S_IFDIR, S_IFMT } from '@flotilla/linux';
import { type BytePath, forPeople, join } from './byte-path.ts';
import type { ChangedFile } from './changed-file.ts';
import { type ChangedTree, changedFiles } from './changed-files.ts';
import { findXattrs, isFolder } from './open-folder.ts';

/** How a path differs from the image. */
export interface Change {
  /** Absolute. */
  readonly path: string;
  readonly kind: 'modified' | 'added' | 'deleted';
}

/**
 * What a container changed, as Docker lists it: a file whose attributes, size or time differ; a folder whose attributes do,
 * or in which something changed; what is deleted, without what was in it.
 */
export function* listChanges(tree: ChangedTree, mountPoints: readonly string[]): Generator<Change, void> {
  /** Folders on the way, outermost first, that have not changed themselves. */
  let waiting: BytePath[] = [];
  for (const file of changedFiles(tree, mountPoints)) {
    const changes = changesOf(file);
    const at = file.kind === 'replaced' ? `${file.path}/` : file.path;
    waiting = waiting.filter((folder) => at.startsWith(`${folder}/`));
    if (changes.length === 0) {
      if (file.kind === 'present' && isFolder(file.status)) waiting.push(file.path);
      continue;
    }
    for (const folder of waiting) yield change(folder, 'modified');
    waiting = [];
    yield* changes;
  }
}

function changesOf(file: ChangedFile): Change[] {
  switch (file.kind) {
    case 'deleted':
      return [change(file.path, 'deleted')];
    case 'replaced':
      return file.hidden.map((name) => change(join(file.path, name), 'deleted'));
    case 'present':
      if (file.before === undefined) return [change(file.path, 'added')];
      return differs(file, file.before) ? [change(file.path, 'modified')] : [];
  }
}

function differs(file: ChangedFile & { readonly kind: 'present' }, before: FileStatus): boolean {
  const { status, parent, beforeIn, name } = file;
  if (status.mode !== before.mode || status.uid !== before.uid || status.gid !== before.gid) return true;
  if (status.specialDevice.join() !== before.specialDevice.join()) return true;
  if ((status.mode & S_IFMT) === S_IFDIR) return false; // Size and time say nothing of a folder.
  if (status.sizeBytes !== before.sizeBytes || status.modifiedUnixNano !== before.modifiedUnixNano) return true;
  return beforeIn !== undefined && capability(parent, name) !== capability(beforeIn, name);
}

function capability(parent: number, name: BytePath): string | undefined {
  return findXattrs(parent, name).get('security.capability')?.toString('hex');
}

function change(path: BytePath, kind: Change['kind']): Change {
  return { path: `/${forPeople(path)}`, kind };
}
