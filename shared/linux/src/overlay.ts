import { closeSync, constants, openSync } from 'node:fs';
import { O_PATH } from './constants.ts';
import {
  changeDirectory,
  changeDirectoryTo,
  type FileSystemRequest,
  mount,
  moveMount,
  openFileSystem,
  openTree,
  umount,
} from './mount.ts';
import { isErrno } from './syscall-error.ts';

/** mount(2) takes a page of options, its end included. */
const mostMountBytes = 4095;
/** fsconfig(2) takes values of 255 bytes. */
const mostValueBytes = 255;

/** An overlay, by the kernel's documentation filesystems/overlayfs.rst. */
export interface OverlayRequest {
  /** Folders, uppermost first. */
  readonly lower: readonly string[];
  /** Without these it is read-only. */
  readonly upper?: { readonly path: string; readonly work: string };
  /** Other options: `index=off`. */
  readonly options?: readonly string[];
}

/** An overlay from the options that mount(2) takes. */
export function parseOverlay(data: readonly string[]): OverlayRequest {
  const options = new Map(data.map((option) => [option.split('=', 1)[0]!, option]));
  const take = (key: string) => {
    const value = options.get(key)?.slice(key.length + 1);
    options.delete(key);
    return value;
  };
  const lower = take('lowerdir')?.split(':') ?? [];
  const [path, work] = [take('upperdir'), take('workdir')];
  const upper = path === undefined || work === undefined ? {} : { upper: { path, work } };
  return { lower, ...upper, options: [...options.values()] };
}

/**
 * How an overlay is told to the kernel: `plain` names whole paths in one page, `relative` names the layers from their common
 * folder and the others by descriptor, `each` hands over one layer at a time (`lowerdir+`, Linux 6.7).
 */
export type OverlayWay = 'plain' | 'relative' | 'each';

/**
 * Mounts an overlay on a folder, however many its layers are (the kernel takes 500) and however long their paths. `flags` are
 * MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, whose bits are those of MOUNT_ATTR_… RangeError when no way is left: beyond about
 * 400 layers before Linux 6.7. Must be called where nobody else depends on the working directory meanwhile.
 */
export function mountOverlay(
  target: string,
  request: OverlayRequest,
  { flags = 0, ways = ['plain', 'relative', 'each'] }: { flags?: number; ways?: readonly OverlayWay[] } = {},
): OverlayWay {
  const plain = dataOf(request);
  if (ways.includes('plain') && fits(plain, mostMountBytes)) {
    mount({ source: 'overlay', target, type: 'overlay', flags, data: plain });
    return 'plain';
  }
  return withShortNames(request, (short) => {
    const data = dataOf(short);
    if (ways.includes('relative') && fits(data, mostMountBytes)) {
      mount({ source: 'overlay', target, type: 'overlay', flags, data });
      return 'relative';
    }
    if (!ways.includes('each')) throw new RangeError(`mount options exceed ${mostMountBytes} bytes`);
    const mountFd = openEach(short, flags);
    try {
      const targetFd = openSync(target, O_PATH | constants.O_DIRECTORY);
      try {
        moveMount(mountFd, targetFd, target);
      } finally {
        closeSync(targetFd);
      }
    } finally {
      closeSync(mountFd);
    }
    return 'each';
  });
}

/**
 * Opens folders over one another, uppermost first, as a read-only mount that nobody else sees. Before Linux 6.7, when even
 * short names are too long for fsconfig(2), they are mounted at `scratch`, an empty folder, for a moment.
 */
export function openOverlay(
  lower: readonly string[],
  { attributes, scratch, ways = ['plain', 'each', 'relative'] }: OpenOverlayOptions,
): number {
  const whole = `lowerdir=${lower.join(':')}`;
  if (ways.includes('plain') && fits(lower.join(':'), mostValueBytes)) {
    return openFileSystem({ ...overlayType, attributes, options: [whole] });
  }
  return withShortNames({ lower }, (short) => {
    if (ways.includes('each')) {
      try {
        return openEach(short, attributes);
      } catch (error) {
        if (!isErrno(error, 'EINVAL') || !ways.includes('relative')) throw error; // Linux before 6.7 does not know it.
      }
    }
    const names = short.lower.join(':');
    if (fits(names, mostValueBytes)) {
      return openFileSystem({ ...overlayType, attributes, options: [`lowerdir=${names}`] });
    }
    return openFromScratch(scratch, short, attributes);
  });
}

export interface OpenOverlayOptions {
  /** MOUNT_ATTR_… */
  readonly attributes: number;
  readonly scratch: string;
  readonly ways?: readonly OverlayWay[];
}

const overlayType = { type: 'overlay', source: 'overlay' } satisfies FileSystemRequest;

function openEach({ lower, upper, options = [] }: OverlayRequest, attributes: number): number {
  const upperOptions = upper === undefined ? [] : [`upperdir=${upper.path}`, `workdir=${upper.work}`];
  return openFileSystem({
    ...overlayType,
    attributes,
    options: [...lower.map((path) => `lowerdir+=${path}`), ...upperOptions, ...options],
  });
}

function openFromScratch(scratch: string, request: OverlayRequest, flags: number): number {
  const data = dataOf(request);
  if (!fits(data, mostMountBytes)) throw new RangeError(`mount options exceed ${mostMountBytes} bytes`);
  mount({ source: 'overlay', target: scratch, type: 'overlay', flags, data });
  try {
    return openTree(scratch);
  } finally {
    umount(scratch, { detach: true });
  }
}

/** mount(2)'s text. */
function dataOf({ lower, upper, options = [] }: OverlayRequest): string {
  const upperOptions = upper === undefined ? [] : [`upperdir=${upper.path}`, `workdir=${upper.work}`];
  return [`lowerdir=${lower.join(':')}`, ...upperOptions, ...options].join(',');
}

function fits(text: string, bytes: number): boolean {
  return Buffer.byteLength(text) <= bytes;
}

/**
 * The same with the shortest names: layers from their common folder, which is the working directory meanwhile, or by descriptor
 * when that name is shorter; the upper and work folders by descriptor.
 */
function withShortNames<T>(request: OverlayRequest, work: (short: OverlayRequest) => T): T {
  const opened: number[] = [];
  const byDescriptor = (path: string): string => {
    const fd = openSync(path, O_PATH | constants.O_DIRECTORY);
    opened.push(fd);
    return `/proc/self/fd/${fd}`;
  };
  const before = openSync('.', O_PATH | constants.O_DIRECTORY);
  opened.push(before);
  try {
    const folder = mostCommonFolder(request.lower);
    const lower = request.lower.map((path) =>
      path.startsWith(folder) ? path.slice(folder.length) || '.' : byDescriptor(path),
    );
    const { upper } = request;
    const short = {
      ...request,
      lower,
      ...(upper === undefined ? {} : { upper: { path: byDescriptor(upper.path), work: byDescriptor(upper.work) } }),
    };
    if (folder !== '') changeDirectory(folder);
    try {
      return work(short);
    } finally {
      changeDirectoryTo(before);
    }
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** Of the last two paths: the uppermost one may be a writable layer that lies elsewhere. Ends in a slash. */
function mostCommonFolder(paths: readonly string[]): string {
  const [last = '', other = last] = paths.slice(-2).reverse();
  for (let end = last.lastIndexOf('/'); end > 0; end = last.lastIndexOf('/', end - 1)) {
    const prefix = last.slice(0, end + 1);
    if (other.startsWith(prefix)) return prefix;
  }
  return '';
}
