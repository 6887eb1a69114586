import { closeSync, constants, readdirSync } from 'node:fs';
import {
  copyFileData,
  type FileStatus,
  fchmodat,
  fchownat,
  futimens,
  linkat,
  makeDevice,
  mkdirat,
  mknodat,
  openat,
  readlinkat,
  readXattrsAt,
  removexattrAt,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  setxattrAt,
  statAt,
  symlinkat,
  utimensat,
} from '@flotilla/linux';
import { isImageAttribute } from '../../domain/image-attribute.ts';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY } = constants;

/** Called before each file and each large piece of one; throws to stop. */
export type Checkpoint = () => void;

/**
 * Copies what is in one open directory into another that is empty: owners, modes, times, attributes, links and holes kept, blocks
 * shared where the file system can.
 */
export function copyTree(from: number, to: number, checkpoint: Checkpoint): void {
  const copy = { root: to, links: new Map<string, string>(), checkpoint };
  copyDirectory(copy, from, to, '');
  copyAttributes(from, '.', to, '.', statAt(from, ''));
}

/** Gives an open directory the owner, mode, times and attributes of another. */
export function copyFolderAttributes(from: number, to: number): void {
  copyAttributes(from, '.', to, '.', statAt(from, ''));
}

interface Copy {
  readonly root: number;
  /** Where the first name of a file with several was put. */
  readonly links: Map<string, string>;
  readonly checkpoint: Checkpoint;
}

function copyDirectory(copy: Copy, from: number, to: number, path: string): void {
  for (const name of readdirSync(`/proc/self/fd/${from}`)) {
    copy.checkpoint();
    const status = statAt(from, name);
    const here = path === '' ? name : `${path}/${name}`;
    const key = `${status.device.join()}:${status.inode}`;
    const several = status.links > 1 && (status.mode & S_IFMT) !== S_IFDIR;
    const first = several ? copy.links.get(key) : undefined;
    if (first !== undefined) {
      linkat(copy.root, first, to, name);
      continue;
    }
    if (several) copy.links.set(key, here);
    copyOne(copy, from, to, { name, here, status });
    copyAttributes(from, name, to, name, status);
  }
}

interface Entry {
  readonly name: string;
  /** From the root. */
  readonly here: string;
  readonly status: FileStatus;
}

function copyOne(copy: Copy, from: number, to: number, { name, here, status }: Entry): void {
  switch (status.mode & S_IFMT) {
    case S_IFDIR:
      mkdirat(to, name, 0o700);
      withBoth(from, to, name, O_RDONLY | O_DIRECTORY, (a, b) => copyDirectory(copy, a, b, here));
      break;
    case S_IFREG:
      withBoth(from, to, name, O_WRONLY | O_CREAT | O_EXCL, (a, b) => {
        copyFileData(a, b, status.sizeBytes, copy.checkpoint);
      });
      break;
    case S_IFLNK:
      symlinkat(readlinkat(from, name), to, name);
      break;
    default:
      mknodat(to, name, (status.mode & S_IFMT) | 0o600, makeDevice(...status.specialDevice));
  }
}

function withBoth(from: number, to: number, name: string, flags: number, work: (a: number, b: number) => void): void {
  const source = openat(from, name, O_RDONLY | O_NOFOLLOW | (flags & O_DIRECTORY));
  try {
    const target = openat(to, name, flags | O_NOFOLLOW, 0o600);
    try {
      work(source, target);
    } finally {
      closeSync(target);
    }
  } finally {
    closeSync(source);
  }
}

/** Gives a name what another has: owner, mode, an image's attributes and time; those that the other has not are taken away. */
export function copyAttributes(from: number, source: string, to: number, target: string, status: FileStatus): void {
  fchownat(to, target, status.uid, status.gid);
  const wanted = new Map([...readXattrsAt(from, source)].filter(([attribute]) => isImageAttribute(attribute)));
  for (const attribute of readXattrsAt(to, target).keys()) {
    if (!wanted.has(attribute) && isImageAttribute(attribute)) removexattrAt(to, target, attribute);
  }
  for (const [attribute, value] of wanted) setxattrAt(to, target, attribute, value);
  if ((status.mode & S_IFMT) !== S_IFLNK) fchmodat(to, target, status.mode & 0o7777);
  if (target === '.') futimens(to, status.modifiedUnixNano);
  else utimensat(to, target, status.modifiedUnixNano);
}
