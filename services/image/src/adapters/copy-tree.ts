import { closeSync, constants, createReadStream, createWriteStream, readdirSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import {
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
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  setxattrAt,
  statAt,
  symlinkat,
  utimensat,
} from '@flotilla/linux';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_DIRECTORY } = constants;

/** Copies what is in one open directory into another that is empty: owners, modes, times, attributes and links kept. */
export async function copyTree(from: number, to: number): Promise<void> {
  await copyDirectory(from, to, new Map(), to);
  copyAttributes(from, '.', to, '.', statAt(from, ''));
}

/** Where the first name of a file with several was put. */
type Links = Map<string, string>;

async function copyDirectory(from: number, to: number, links: Links, root: number, path = ''): Promise<void> {
  for (const name of readdirSync(`/proc/self/fd/${from}`)) {
    const status = statAt(from, name);
    const here = path === '' ? name : `${path}/${name}`;
    const key = `${status.device.join()}:${status.inode}`;
    const first = status.links > 1 && (status.mode & S_IFMT) !== S_IFDIR ? links.get(key) : undefined;
    if (first !== undefined) {
      linkat(root, first, to, name);
      continue;
    }
    if (status.links > 1) links.set(key, here);
    await copyOne(from, to, name, status, (a, b) => copyDirectory(a, b, links, root, here));
    copyAttributes(from, name, to, name, status);
  }
}

async function copyOne(
  from: number,
  to: number,
  name: string,
  status: FileStatus,
  descend: (from: number, to: number) => Promise<void>,
): Promise<void> {
  switch (status.mode & S_IFMT) {
    case S_IFDIR: {
      mkdirat(to, name, 0o700);
      const source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      const target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      try {
        await descend(source, target);
      } finally {
        closeSync(source);
        closeSync(target);
      }
      break;
    }
    case S_IFREG: {
      const source = openat(from, name, O_RDONLY | O_NOFOLLOW);
      const target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
      // The streams close their descriptors, on failure too.
      await pipeline(createReadStream('', { fd: source }), createWriteStream('', { fd: target }));
      break;
    }
    case S_IFLNK:
      symlinkat(readlinkat(from, name), to, name);
      break;
    default:
      mknodat(to, name, (status.mode & S_IFMT) | 0o600, makeDevice(...status.specialDevice));
  }
}

function copyAttributes(from: number, source: string, to: number, target: string, status: FileStatus): void {
  fchownat(to, target, status.uid, status.gid);
  for (const [attribute, value] of readXattrsAt(from, source)) {
    if (!attribute.startsWith('trusted.overlay.')) setxattrAt(to, target, attribute, value);
  }
  if ((status.mode & S_IFMT) !== S_IFLNK) fchmodat(to, target, status.mode & 0o7777);
  if (target === '.') futimens(to, status.modifiedUnixNano);
  else utimensat(to, target, status.modifiedUnixNano);
}
