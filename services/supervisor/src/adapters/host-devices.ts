import { lstatSync, readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { invalidField } from '@flotilla/errors';
import { isErrno } from '@flotilla/linux';
import type { LinuxDevice, LinuxDeviceCgroup } from '@flotilla/oci';

export interface DeviceWish {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly permissions: string;
}

export interface DeviceSet {
  readonly nodes: readonly LinuxDevice[];
  readonly rules: readonly LinuxDeviceCgroup[];
}

const mostDevices = 4096;
/** Not of the host's /dev: file systems of their own, and what every container has for itself. */
const skippedFolders = ['pts', 'shm', 'fd', 'mqueue', 'hugepages', '.lxc', '.lxd-mounts', '.udev'];
const skippedNodes = ['/dev/console', '/dev/tty', '/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom'];

/** The nodes of devices that were asked for, and the rules that allow them. INVALID_FIELD when one is not there. */
export function readDevices(wishes: readonly DeviceWish[]): DeviceSet {
  const nodes: LinuxDevice[] = [];
  const rules: LinuxDeviceCgroup[] = [];
  for (const [index, { hostPath, containerPath, permissions }] of wishes.entries()) {
    const found = findNodes(hostPath, containerPath || hostPath, `devices[${index}].host_path`);
    nodes.push(...found);
    rules.push(...found.map((node) => ruleFor(node, permissions || 'rwm')));
  }
  return { nodes, rules };
}

/** All devices of the host, for privileged containers; the rules allow everything anyway. */
export function readAllDevices(): readonly LinuxDevice[] {
  const nodes: LinuxDevice[] = [];
  collect('/dev', '/dev', nodes);
  return nodes.filter(({ path }) => !skippedNodes.includes(path));
}

function findNodes(hostPath: string, containerPath: string, field: string): LinuxDevice[] {
  let stats: Stats;
  try {
    stats = statSync(hostPath);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw invalidField(field, 'a device of the host', hostPath);
    throw error;
  }
  if (stats.isDirectory()) {
    const nodes: LinuxDevice[] = [];
    collect(hostPath, containerPath, nodes);
    if (nodes.length > 0) return nodes;
  }
  const node = toNode(stats, containerPath);
  if (node === undefined) throw invalidField(field, 'a device, or a folder with devices', hostPath);
  return [node];
}

function collect(folder: string, target: string, nodes: LinuxDevice[]): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (nodes.length >= mostDevices) return;
    if (entry.isDirectory()) {
      if (!skippedFolders.includes(entry.name)) collect(join(folder, entry.name), join(target, entry.name), nodes);
      continue;
    }
    if (!entry.isCharacterDevice() && !entry.isBlockDevice()) continue;
    const stats = lstatSync(join(folder, entry.name), { throwIfNoEntry: false });
    const node = stats === undefined ? undefined : toNode(stats, join(target, entry.name));
    if (node !== undefined) nodes.push(node);
  }
}

function toNode(stats: Stats, path: string): LinuxDevice | undefined {
  if (!stats.isCharacterDevice() && !stats.isBlockDevice()) return undefined;
  const { rdev, mode, uid, gid } = stats;
  return {
    path,
    type: stats.isBlockDevice() ? 'b' : 'c',
    major: majorOf(rdev),
    minor: minorOf(rdev),
    fileMode: mode & 0o777,
    uid,
    gid,
  };
}

/** makedev(3) of glibc. */
function majorOf(rdev: number): number {
  const number = BigInt(rdev);
  return Number(((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n));
}

function minorOf(rdev: number): number {
  const number = BigInt(rdev);
  return Number((number & 0xffn) | ((number >> 12n) & 0xffffff00n));
}

function ruleFor({ type, major = 0, minor = 0 }: LinuxDevice, access: string): LinuxDeviceCgroup {
  return { allow: true, type: type === 'b' ? 'b' : 'c', major, minor, access };
}
