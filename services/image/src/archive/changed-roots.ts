import { type FileStatus, S_IFDIR, S_IFMT } from '@flotilla/linux';
import { type BytePath, join } from './byte-path.ts';
import type { ChangedFile } from './changed-file.ts';
import { checkDepth, findFolder, findStatus, findXattrs, isFolder, namesIn } from './open-folder.ts';

/** A folder of a container, and the image's of that path if there is one. */
export interface RootPlace {
  readonly path: BytePath;
  readonly merged: number;
  readonly lower: number | undefined;
}

/**
 * Goes through two whole roots, of snapshotters that keep those, and tells what differs in the same words as for overlayfs:
 * folders that are the same only where something in them is not. A file is taken for changed by type, mode, owner, size, time and
 * attributes, as Docker does where it has no overlay. `isLeftOut` says what is not the container's.
 */
export function* changedRoots(
  place: RootPlace,
  isLeftOut: (place: RootPlace, name: BytePath) => boolean,
): Generator<ChangedFile, void> {
  for (const name of allNames(place)) {
    const { merged, lower } = place;
    const [status, before] = [findStatus(merged, name), findStatus(lower, name)];
    const path = join(place.path, name);
    if (status === undefined) {
      if (before !== undefined) yield { kind: 'deleted', path };
      continue;
    }
    if (isLeftOut(place, name)) continue;
    const file = { kind: 'present', path, name, parent: merged, status, before, beforeIn: lower } as const;
    let told = before === undefined || differs(place, name, status, before);
    if (told) yield file;
    if (!isFolder(status)) continue;
    for (const inside of within(place, name, isLeftOut)) {
      if (!told) yield file;
      told = true;
      yield inside;
    }
  }
}

function* within(
  place: RootPlace,
  name: BytePath,
  isLeftOut: (place: RootPlace, name: BytePath) => boolean,
): Generator<ChangedFile, void> {
  const path = join(place.path, name);
  checkDepth(path);
  using merged = findFolder(place.merged, name);
  if (merged === undefined) return; // Gone since it was looked at.
  using lower = findFolder(place.lower, name);
  yield* changedRoots({ path, merged: merged.fd, lower: lower?.fd }, isLeftOut);
}

/** In the order of their bytes. */
function allNames({ merged, lower }: RootPlace): BytePath[] {
  const names = namesIn(merged);
  if (lower === undefined) return names;
  const own = new Set(names);
  return [...names, ...namesIn(lower).filter((name) => !own.has(name))].sort((a, b) => (a < b ? -1 : 1));
}

function differs({ merged, lower }: RootPlace, name: BytePath, status: FileStatus, before: FileStatus): boolean {
  if (status.mode !== before.mode || status.uid !== before.uid || status.gid !== before.gid) return true;
  if (status.specialDevice.join() !== before.specialDevice.join()) return true;
  if ((status.mode & S_IFMT) !== S_IFDIR) {
    if (status.sizeBytes !== before.sizeBytes || status.modifiedUnixNano !== before.modifiedUnixNano) return true;
  }
  return lower !== undefined && attributes(merged, name) !== attributes(lower, name);
}

function attributes(parent: number, name: BytePath): string {
  const all = [...findXattrs(parent, name)].map(([key, value]) => `${key}=${value.toString('hex')}`);
  return all.sort().join();
}
