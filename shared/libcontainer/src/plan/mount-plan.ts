import { invalidField } from '@flotilla/errors';
import {
  MOUNT_ATTR_ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
} from '@flotilla/linux';
import type { Mount } from '@flotilla/oci';
import { unsupported } from '../setup-error.ts';

/** One entry of `mounts`, taken apart. */
export interface MountPlan {
  /** Absolute, without `.` and `..`. */
  readonly destination: string;
  /** `bind`, or a file system type. */
  readonly type: string;
  readonly source: string;
  /** Of a bind: what is bound lies there, below its source; empty for the source itself. */
  readonly subpath: string;
  /** A bind takes what is mounted below its source along. */
  readonly recursive: boolean;
  /** Options of the file system, `key=value` or `key`. */
  readonly data: readonly string[];
  readonly attributes: AttributeChange;
  /** For the mounts below, too (`rro`). */
  readonly recursiveAttributes: AttributeChange;
  readonly propagation: readonly { readonly flag: number; readonly recursive: boolean }[];
}

/** MOUNT_ATTR_… */
export interface AttributeChange {
  readonly set: number;
  readonly clear: number;
}

/** Option → attribute set, attribute cleared. */
const attributeOptions: Readonly<Record<string, readonly [set: number, clear: number]>> = {
  ro: [MOUNT_ATTR_RDONLY, 0],
  rw: [0, MOUNT_ATTR_RDONLY],
  nosuid: [MOUNT_ATTR_NOSUID, 0],
  suid: [0, MOUNT_ATTR_NOSUID],
  nodev: [MOUNT_ATTR_NODEV, 0],
  dev: [0, MOUNT_ATTR_NODEV],
  noexec: [MOUNT_ATTR_NOEXEC, 0],
  exec: [0, MOUNT_ATTR_NOEXEC],
  nodiratime: [MOUNT_ATTR_NODIRATIME, 0],
  diratime: [0, MOUNT_ATTR_NODIRATIME],
  nosymfollow: [MOUNT_ATTR_NOSYMFOLLOW, 0],
  symfollow: [0, MOUNT_ATTR_NOSYMFOLLOW],
  relatime: [0, MOUNT_ATTR_ATIME],
  noatime: [MOUNT_ATTR_NOATIME, MOUNT_ATTR_ATIME],
  strictatime: [MOUNT_ATTR_STRICTATIME, MOUNT_ATTR_ATIME],
  atime: [0, MOUNT_ATTR_ATIME],
  norelatime: [0, MOUNT_ATTR_ATIME],
  nostrictatime: [0, MOUNT_ATTR_ATIME],
};

const propagationOptions: Readonly<Record<string, number>> = {
  private: MS_PRIVATE,
  slave: MS_SLAVE,
  shared: MS_SHARED,
  unbindable: MS_UNBINDABLE,
};

/** Linux has ignored these for years, or they say nothing. */
const withoutMeaning = new Set(['defaults', 'async', 'nomand', 'mand', 'loud', 'iversion', 'noiversion']);
const notOffered = new Set(['idmap', 'ridmap', 'tmpcopyup', 'remount']);

/** Parses one mount of config.json; `field` names it in errors. */
export function planMount({ destination, type, source, options = [], subpath = '' }: Mount, field: string): MountPlan {
  const attributes = { set: 0, clear: 0 };
  const recursiveAttributes = { set: 0, clear: 0 };
  const propagation: { flag: number; recursive: boolean }[] = [];
  const data: string[] = [];
  let bind = type === 'bind' || type === 'none';
  let recursive = false;
  for (const option of options) {
    if (notOffered.has(option)) throw unsupported(`${field}.options`, `${option} is not offered`);
    if (withoutMeaning.has(option)) continue;
    const below = option.startsWith('r') && option !== 'ro' && option !== 'rw' && option !== 'relatime';
    const plain = below ? option.slice(1) : option;
    if (option === 'bind' || option === 'rbind') {
      bind = true;
      recursive ||= option === 'rbind';
    } else if (propagationOptions[plain] !== undefined) {
      propagation.push({ flag: propagationOptions[plain], recursive: below });
    } else if (attributeOptions[plain] !== undefined) {
      change(below ? recursiveAttributes : attributes, attributeOptions[plain]);
    } else {
      data.push(option);
    }
  }
  if (bind && data.length > 0) throw invalidField(`${field}.options`, 'options of a bind mount', data[0]);
  if (bind && !source?.startsWith('/')) throw invalidField(`${field}.source`, 'an absolute path', source);
  if (subpath.startsWith('/') || subpath.split('/').includes('..') || subpath.includes('\0') || (subpath && !bind)) {
    throw invalidField(`${field}.subpath`, 'a relative path without `..`, of a bind mount', subpath);
  }
  if (!bind && !type) throw invalidField(`${field}.type`, 'a file system type or bind', type);
  return {
    destination: cleanPath(destination, `${field}.destination`),
    type: bind ? 'bind' : type!,
    source: source ?? type ?? '',
    subpath,
    recursive,
    data,
    attributes,
    recursiveAttributes,
    propagation,
  };
}

function change(of: { set: number; clear: number }, [set, clear]: readonly [number, number]): void {
  of.set = (of.set & ~clear) | set;
  of.clear = (of.clear & ~set) | clear;
}

/** Absolute, without empty parts, `.` and `..` (which stays within the root). No NUL, at most 4095 bytes. */
export function cleanPath(path: string, field: string): string {
  if (!path.startsWith('/') || path.includes('\0') || Buffer.byteLength(path) > 4095) {
    throw invalidField(field, 'an absolute path of at most 4095 bytes', path);
  }
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** What lxcfs lays over files of /proc; everything else there stays the kernel's (CVE-2019-16884). */
const allowedOverProc = new Set(
  ['cpuinfo', 'diskstats', 'loadavg', 'meminfo', 'slabinfo', 'stat', 'swaps', 'uptime', 'net/dev'].map(
    (p) => `/proc/${p}`,
  ),
);

/** Refuses a mount that would hide or replace files of /proc. */
export function checkOverProc({ destination, type }: MountPlan, field: string): void {
  if (destination !== '/proc' && !destination.startsWith('/proc/')) return;
  if (destination === '/proc' ? type === 'proc' : type === 'bind' && allowedOverProc.has(destination)) return;
  throw invalidField(`${field}.destination`, 'a path outside /proc', destination);
}
