import { constants, fstatSync } from 'node:fs';
import {
  closeFd,
  fchownat,
  isErrno,
  makeDevice,
  mknodat,
  O_PATH,
  openat2,
  openTree,
  RESOLVE_NO_SYMLINKS,
  symlinkat,
} from '@flotilla/linux';
import type { DevicePlan } from '../plan/init-plan.ts';
import { step } from '../setup-error.ts';
import { attach, refused } from './attach.ts';
import { ensureFile, ensureFolder, findInRoot, splitPath } from './root-paths.ts';

const typeBits = { c: constants.S_IFCHR, b: constants.S_IFBLK, p: constants.S_IFIFO } as const;

/** Devices of the host's /dev, opened before a user namespace was entered, by path. */
export type OpenedDevices = ReadonlyMap<string, number>;

/** Makes the nodes. The umask must be 0. */
export function makeDevices(rootFd: number, devices: readonly DevicePlan[], opened: OpenedDevices): void {
  for (const device of devices) step(`make the device ${device.path}`, () => makeNode(rootFd, device, opened));
}

function makeNode(rootFd: number, device: DevicePlan, opened: OpenedDevices): void {
  const { folder, name } = splitPath(device.path);
  const folderFd = ensureFolder(rootFd, folder, true);
  try {
    mknodat(folderFd, name, typeBits[device.type] | device.mode, makeDevice(device.major, device.minor));
    if (device.uid !== 0 || device.gid !== 0) fchownat(folderFd, name, device.uid, device.gid);
  } catch (error) {
    if (isErrno(error, 'EEXIST')) {
      checkNode(folderFd, name, device);
      return;
    }
    if (!isErrno(error, 'EPERM')) throw error;
    bindNode(rootFd, device, opened.get(device.path) ?? openTree(device.path));
  } finally {
    closeFd(folderFd);
  }
}

/** What the image has there must be that very device. */
function checkNode(folderFd: number, name: string, device: DevicePlan): void {
  const fd = openat2(folderFd, name, { flags: O_PATH | constants.O_NOFOLLOW, resolve: RESOLVE_NO_SYMLINKS });
  try {
    if (!isDevice(fd, device)) throw refused(device.path, 'something else is there');
  } finally {
    closeFd(fd);
  }
}

/** In a user namespace nodes cannot be made: the host's is bound, if it is what it should be. */
function bindNode(rootFd: number, device: DevicePlan, sourceFd: number): void {
  try {
    if (!isDevice(sourceFd, device)) throw refused(device.path, 'it is another device on the host');
    attach(sourceFd, ensureFile(rootFd, device.path), device.path);
  } finally {
    closeFd(sourceFd);
  }
}

/** Whether an open file is the device node of these numbers. */
export function isDevice(fd: number, { type, major, minor }: Pick<DevicePlan, 'type' | 'major' | 'minor'>): boolean {
  const { mode, rdev } = fstatSync(fd, { bigint: true });
  return (Number(mode) & constants.S_IFMT) === typeBits[type] && (type === 'p' || rdev === makeDevice(major, minor));
}

const links: readonly (readonly [target: string, name: string])[] = [
  ['/proc/self/fd', 'fd'],
  ['/proc/self/fd/0', 'stdin'],
  ['/proc/self/fd/1', 'stdout'],
  ['/proc/self/fd/2', 'stderr'],
  ['pts/ptmx', 'ptmx'],
];

const kcoreLink = ['/proc/kcore', 'core'] as const;

/** A kernel may be built without it. */
function hasKcore(rootFd: number): boolean {
  const fd = findInRoot(rootFd, '/proc/kcore');
  if (fd !== undefined) closeFd(fd);
  return fd !== undefined;
}

/** The links of /dev: config-linux.md, Default Devices, and runtime-linux.md, Dev symbolic links. */
export function makeDeviceLinks(rootFd: number): void {
  const devFd = ensureFolder(rootFd, '/dev', true);
  try {
    for (const [target, name] of hasKcore(rootFd) ? [...links, kcoreLink] : links) {
      try {
        symlinkat(target, devFd, name);
      } catch (error) {
        if (!isErrno(error, 'EEXIST')) throw error;
      }
    }
  } finally {
    closeFd(devFd);
  }
}
