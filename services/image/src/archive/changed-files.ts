import { type FileStatus, S_IFCHR, S_IFMT, S_IFREG } from '@flotilla/linux';
import { type BytePath, join, toBytePath } from './byte-path.ts';
import type { ChangedFile } from './changed-file.ts';
import { changedRoots } from './changed-roots.ts';
import { checkDepth, findFolder, findStatus, findXattrs, isFolder, namesIn } from './open-folder.ts';

/** Open folders: a container's writable layer, what it sees, and its image. They are read, and stay open. */
export interface ChangedTree {
  readonly upper: number;
  readonly merged: number;
  /** Undefined for an image without layers. */
  readonly lower: number | undefined;
  /** The upper folder is the whole root that the container sees, not only what it changed. */
  readonly whole?: boolean;
}

interface Place {
  readonly path: BytePath;
  readonly upper: number | undefined;
  readonly merged: number;
  readonly lower: number | undefined;
}

/**
 * Goes through a writable layer of overlayfs (kernel doc, filesystems/overlayfs.rst), folder by folder, names in the order of
 * their bytes. Names come from the layer, files from what the container sees, so that a folder that was moved
 * (`redirect_dir`) and a file whose data is elsewhere (`metacopy`) are whole. `mountPoints`: empty files and folders that the
 * engine made to mount on; they and the folders that hold nothing else are left out.
 */
export function changedFiles({ upper, merged, lower, whole }: ChangedTree, mountPoints: readonly string[]) {
  const points = new Set(mountPoints.map((path) => toBytePath(path.slice(1))));
  const above = new Set([...points].flatMap(foldersAbove));
  if (whole) {
    return changedRoots({ path: '', merged, lower }, (place, name) =>
      isMountPoint({ ...place, upper: place.merged }, name, { points, above }),
    );
  }
  return walk({ path: '', upper, merged, lower }, { points, above });
}

interface MountPoints {
  readonly points: ReadonlySet<BytePath>;
  /** Folders above them. */
  readonly above: ReadonlySet<BytePath>;
}

function* walk(place: Place, mountPoints: MountPoints): Generator<ChangedFile, void> {
  for (const name of namesIn(place.upper ?? place.merged)) {
    const before = findStatus(place.lower, name);
    if (isWhiteout(findStatus(place.upper, name))) {
      if (before !== undefined) yield { kind: 'deleted', path: join(place.path, name) };
      continue;
    }
    const status = findStatus(place.merged, name);
    if (status === undefined || isMountPoint(place, name, mountPoints)) continue;
    const path = join(place.path, name);
    yield { kind: 'present', path, name, parent: place.merged, status, before, beforeIn: place.lower };
    if (isFolder(status)) yield* walkFolder(place, name, mountPoints);
  }
}

function* walkFolder(place: Place, name: BytePath, mountPoints: MountPoints): Generator<ChangedFile, void> {
  const path = join(place.path, name);
  checkDepth(path);
  using merged = findFolder(place.merged, name);
  if (merged === undefined) return; // Gone since it was looked at.
  using lower = findFolder(place.lower, name);
  const within = place.upper === undefined;
  const replaced = within || isReplaced(place.upper, name);
  using upper = replaced ? undefined : findFolder(place.upper, name);
  if (replaced && lower !== undefined) {
    const hidden = namesIn(lower.fd).filter((one) => findStatus(merged.fd, one) === undefined);
    yield { kind: 'replaced', path, hidden, within };
  }
  yield* walk({ path, upper: upper?.fd, merged: merged.fd, lower: lower?.fd }, mountPoints);
}

function isWhiteout(status: FileStatus | undefined): boolean {
  return status !== undefined && (status.mode & S_IFMT) === S_IFCHR && status.specialDevice.join() === '0,0';
}

/** A folder that shows nothing of the image's folder of its name: one that was made anew, or moved there. */
function isReplaced(upper: number, name: BytePath): boolean {
  const xattrs = findXattrs(upper, name);
  return xattrs.get('trusted.overlay.opaque')?.toString() === 'y' || xattrs.has('trusted.overlay.redirect');
}

/** Whether the engine made it to mount on, or for nothing but what it made in it. */
function isMountPoint(place: Place, name: BytePath, mountPoints: MountPoints): boolean {
  const path = join(place.path, name);
  const { points, above } = mountPoints;
  if (points.has(path) && findStatus(place.lower, name) === undefined && isEmpty(place, name)) return true;
  if (!above.has(path)) return false;
  using merged = findFolder(place.merged, name);
  using upper = findFolder(place.upper, name);
  if (merged === undefined || upper === undefined) return false;
  const status = findStatus(place.merged, name);
  if (status === undefined || !looksSame(status, findStatus(place.lower, name))) return false;
  using lower = findFolder(place.lower, name);
  const names = namesIn(upper.fd);
  const inside = { path, upper: upper.fd, merged: merged.fd, lower: lower?.fd };
  return names.length > 0 && names.every((one) => isMountPoint(inside, one, mountPoints));
}

function isEmpty(place: Place, name: BytePath): boolean {
  const status = findStatus(place.merged, name);
  if (status === undefined) return false;
  if (!isFolder(status)) return (status.mode & S_IFMT) === S_IFREG && status.sizeBytes === 0;
  using folder = findFolder(place.merged, name);
  return folder !== undefined && namesIn(folder.fd).length === 0;
}

function looksSame({ mode, uid, gid }: FileStatus, before: FileStatus | undefined): boolean {
  return before === undefined || (before.mode === mode && before.uid === uid && before.gid === gid);
}

function foldersAbove(path: BytePath): BytePath[] {
  const parts = path.split('/');
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'));
}
