import { posix } from 'node:path';
import { invalidField } from '@flotilla/errors';
import type { MountConfig } from '../container-config.ts';
import { checkChoice, checkEach, checkText } from './text.ts';

const longestPathBytes = 4095; // PATH_MAX, limits.h
const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const propagations = ['', 'rprivate', 'private', 'rshared', 'shared', 'rslave', 'slave'];

/** tmpfs(5), and what mount(8) knows for all file systems. */
const tmpfsFlags = [
  'exec noexec suid nosuid dev nodev sync async dirsync atime noatime diratime nodiratime relatime norelatime strictatime',
]
  .join(' ')
  .split(' ');
const tmpfsValues: Readonly<Record<string, RegExp>> = {
  size: /^\d+[kmgKMG%]?$/,
  nr_blocks: /^\d+[kmgKMG]?$/,
  nr_inodes: /^\d+[kmgKMG]?$/,
  mode: /^0?[0-7]{1,4}$/,
  uid: /^\d{1,10}$/,
  gid: /^\d{1,10}$/,
  huge: /^(never|always|within_size|advise)$/,
};

/** INVALID_FIELD for mounts that cannot be made; two on one path are refused. */
export function checkMounts(mounts: readonly MountConfig[]): void {
  const targets = new Set<string>();
  checkEach(mounts, 'mounts', (mount, field) => {
    const target = checkTarget(mount.target, `${field}.target`);
    if (targets.has(target)) throw invalidField(`${field}.target`, 'mounted on once only', mount.target);
    targets.add(target);
    checkSource(mount, field);
    checkOptions(mount, field);
  });
}

/** The path without `.`, `..` and doubled slashes. */
export function cleanPath(path: string): string {
  const clean = posix.normalize(path);
  return clean.length > 1 && clean.endsWith('/') ? clean.slice(0, -1) : clean;
}

function checkTarget(path: string, field: string): string {
  checkText(path, field, longestPathBytes);
  if (!path.startsWith('/')) throw invalidField(field, 'an absolute path', path);
  const target = cleanPath(path);
  if (target === '/') throw invalidField(field, "a path other than '/'", path);
  // What is mounted over /proc decides what the runtime's own writes to it reach (CVE-2019-16884).
  if (target === '/proc' || target.startsWith('/proc/')) throw invalidField(field, 'outside of /proc', path);
  return target;
}

function checkSource({ type, source }: MountConfig, field: string): void {
  checkText(source, `${field}.source`, longestPathBytes);
  switch (type) {
    case 'MOUNT_TYPE_BIND':
      if (!source.startsWith('/')) throw invalidField(`${field}.source`, 'an absolute path on the host', source);
      return;
    case 'MOUNT_TYPE_VOLUME':
      if (source !== '' && !volumeName.test(source)) {
        throw invalidField(`${field}.source`, 'a volume name ([a-zA-Z0-9][a-zA-Z0-9_.-]*)', source);
      }
      return;
    case 'MOUNT_TYPE_TMPFS':
      if (source !== '') throw invalidField(`${field}.source`, 'empty for a tmpfs', source);
      return;
    default:
      throw invalidField(`${field}.type`, 'bind, volume or tmpfs', type);
  }
}

function checkOptions(mount: MountConfig, field: string): void {
  const { type, propagation, createSource, noCopy, tmpfsSizeBytes, tmpfsMode, tmpfsOptions } = mount;
  const only = (wanted: boolean, option: string, of: MountConfig['type'], what: string) => {
    if (wanted && type !== of) throw invalidField(`${field}.${option}`, `given for ${what} only`);
  };
  checkChoice(propagation, `${field}.propagation`, propagations);
  only(propagation !== '', 'propagation', 'MOUNT_TYPE_BIND', 'bind mounts');
  only(createSource, 'create_source', 'MOUNT_TYPE_BIND', 'bind mounts');
  only(noCopy, 'no_copy', 'MOUNT_TYPE_VOLUME', 'volumes');
  checkRecursion(mount, field, only);
  checkVolume(mount, field, only);
  only(tmpfsSizeBytes !== 0n, 'tmpfs_size_bytes', 'MOUNT_TYPE_TMPFS', 'tmpfs');
  only(tmpfsMode !== 0, 'tmpfs_mode', 'MOUNT_TYPE_TMPFS', 'tmpfs');
  only(tmpfsOptions.length > 0, 'tmpfs_options', 'MOUNT_TYPE_TMPFS', 'tmpfs');
  if (tmpfsSizeBytes < 0n) throw invalidField(`${field}.tmpfs_size_bytes`, 'at least 0', String(tmpfsSizeBytes));
  if (tmpfsMode < 0 || tmpfsMode > 0o7777) {
    throw invalidField(`${field}.tmpfs_mode`, 'at most 07777', tmpfsMode.toString(8));
  }
  checkEach(tmpfsOptions, `${field}.tmpfs_options`, checkTmpfsOption);
}

type Only = (wanted: boolean, option: string, of: MountConfig['type'], what: string) => void;

function checkRecursion(mount: MountConfig, field: string, only: Only): void {
  const { readOnly, propagation, nonRecursive, readOnlyNonRecursive, readOnlyForceRecursive } = mount;
  only(nonRecursive, 'non_recursive', 'MOUNT_TYPE_BIND', 'bind mounts');
  only(readOnlyNonRecursive, 'read_only_non_recursive', 'MOUNT_TYPE_BIND', 'bind mounts');
  only(readOnlyForceRecursive, 'read_only_force_recursive', 'MOUNT_TYPE_BIND', 'bind mounts');
  if (readOnlyNonRecursive && !readOnly) throw invalidField(`${field}.read_only_non_recursive`, 'given with read_only');
  if (!readOnlyForceRecursive) return;
  const name = `${field}.read_only_force_recursive`;
  if (!readOnly) throw invalidField(name, 'given with read_only');
  if (readOnlyNonRecursive) throw invalidField(name, 'given without read_only_non_recursive');
  if (propagation !== 'rprivate') throw invalidField(name, 'given with propagation rprivate', propagation);
}

function checkVolume(mount: MountConfig, field: string, only: Only): void {
  const { volumeDriver, volumeOptions, volumeLabels, volumeSubpath } = mount;
  only(volumeDriver !== '', 'volume_driver', 'MOUNT_TYPE_VOLUME', 'volumes');
  if (volumeDriver !== '') checkChoice(volumeDriver, `${field}.volume_driver`, ['local']);
  for (const [name, pairs] of Object.entries({ volume_options: volumeOptions, volume_labels: volumeLabels })) {
    only(Object.keys(pairs).length > 0, name, 'MOUNT_TYPE_VOLUME', 'volumes');
    for (const [key, value] of Object.entries(pairs)) {
      if (key === '') throw invalidField(`${field}.${name}`, 'given a key');
      checkText(key, `${field}.${name}`, longestPathBytes);
      checkText(value, `${field}.${name}.${key}`, longestPathBytes);
    }
  }
  only(volumeSubpath !== '', 'volume_subpath', 'MOUNT_TYPE_VOLUME', 'volumes');
  checkText(volumeSubpath, `${field}.volume_subpath`, longestPathBytes);
  if (volumeSubpath.startsWith('/') || volumeSubpath.split('/').includes('..')) {
    throw invalidField(`${field}.volume_subpath`, 'a relative path within the volume', volumeSubpath);
  }
}

function checkTmpfsOption(option: string, field: string): void {
  if (tmpfsFlags.includes(option)) return;
  const equals = option.indexOf('=');
  const key = equals === -1 ? '' : option.slice(0, equals);
  const pattern = Object.hasOwn(tmpfsValues, key) ? tmpfsValues[key] : undefined;
  if (pattern?.test(option.slice(equals + 1)) === true) return;
  throw invalidField(field, `one of ${tmpfsFlags.join(', ')}, ${Object.keys(tmpfsValues).join('=, ')}=`, option);
}
