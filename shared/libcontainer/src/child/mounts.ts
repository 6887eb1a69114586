import { type BigIntStats, fstatSync, type Stats } from 'node:fs';
import {
  closeFd,
  fileSystemType,
  isErrno,
  MS_SHARED,
  openFileSystem,
  openTree,
  setMountAttributes,
} from '@flotilla/linux';
import type { AttributeChange, MountPlan } from '../plan/mount-plan.ts';
import { step } from '../setup-error.ts';
import { attach, refused } from './attach.ts';
import { openBindSource } from './bind-source.ts';
import { type CgroupView, mountCgroups } from './cgroup-mount.ts';
import { ensureFile, ensureFolder, findInRoot } from './root-paths.ts';

const PROC_SUPER_MAGIC = 0x9fa0;
const hasAttributes = ({ set, clear }: AttributeChange): boolean => (set | clear) !== 0;

/** Sources of bind mounts that were opened before a user namespace was entered, by index of the mount. */
export type OpenedSources = ReadonlyMap<number, number>;

/** Does the mounts of config.json in their order. */
export function mountAll(
  rootFd: number,
  mounts: readonly MountPlan[],
  cgroups: CgroupView,
  sources: OpenedSources,
): void {
  for (const [i, plan] of mounts.entries()) {
    step(`mount ${plan.type} at ${plan.destination}`, () => {
      if (plan.type === 'cgroup' || plan.type === 'cgroup2') mountCgroups(rootFd, plan, cgroups);
      else mountOne(rootFd, plan, sources.get(i));
    });
  }
}

function mountOne(rootFd: number, plan: MountPlan, sourceFd: number | undefined): void {
  const mountFd = sourceFd ?? openMount(rootFd, plan);
  try {
    applyAttributes(mountFd, plan);
    attach(mountFd, openDestination(rootFd, plan, fstatSync(mountFd)), plan.destination);
    applyPropagation(mountFd, plan);
  } finally {
    closeFd(mountFd);
  }
}

/**
 * Copies of what is to be bound as a shared mount: taken while this mount namespace is still a peer of the host's, since
 * mounts made in the copy of a slave reach nobody else (mount_namespaces(7)).
 */
export function openSharedSources(mounts: readonly MountPlan[]): Map<number, number> {
  const sources = new Map<number, number>();
  for (const [i, plan] of mounts.entries()) {
    if (plan.type !== 'bind' || !plan.propagation.some(({ flag }) => flag === MS_SHARED)) continue;
    sources.set(
      i,
      step(`open ${plan.source}`, () => openBindSource(plan.source, plan)),
    );
  }
  return sources;
}

/** A mount that is nowhere yet. */
export function openMount(rootFd: number, plan: MountPlan): number {
  const { type, source, attributes } = plan;
  if (type === 'bind') return openBindSource(source, plan);
  try {
    return openFileSystem({ type, source, options: withMode(rootFd, plan), attributes: attributes.set });
  } catch (error) {
    // A user namespace without a network namespace of its own may not have a new sysfs: the host's, read-only.
    if (type !== 'sysfs' || !isErrno(error, 'EPERM')) throw error;
    const fd = openTree('/sys', { recursive: true });
    setMountAttributes(fd, { set: attributes.set | 1, recursive: true });
    return fd;
  }
}

/** Attributes of a bind, which a new file system has got already, and those for the mounts below. */
function applyAttributes(mountFd: number, { type, attributes, recursiveAttributes }: MountPlan): void {
  if (type === 'bind' && hasAttributes(attributes)) setMountAttributes(mountFd, attributes);
  if (hasAttributes(recursiveAttributes)) setMountAttributes(mountFd, { ...recursiveAttributes, recursive: true });
}

function applyPropagation(mountFd: number, { propagation }: MountPlan): void {
  for (const { flag, recursive } of propagation) setMountAttributes(mountFd, { propagation: flag, recursive });
}

/** A tmpfs over a folder of the image keeps that folder's mode, unless it has one of its own. */
function withMode(rootFd: number, { type, destination, data }: MountPlan): readonly string[] {
  if (type !== 'tmpfs' || data.some((option) => option.startsWith('mode='))) return data;
  const fd = findInRoot(rootFd, destination);
  if (fd === undefined) return data;
  try {
    return [...data, `mode=${(fstatSync(fd).mode & 0o7777).toString(8)}`];
  } finally {
    closeFd(fd);
  }
}

/** Opens, or makes, what the mount will lie over; never something of /proc. Links are followed within the root. */
function openDestination(rootFd: number, { destination, type }: MountPlan, source: Stats | BigIntStats): number {
  const ordinary = type === 'proc' || type === 'sysfs' || destination === '/dev';
  const fd = source.isDirectory() ? ensureFolder(rootFd, destination, ordinary) : ensureFile(rootFd, destination);
  if (fileSystemType(fd) === PROC_SUPER_MAGIC && !destination.startsWith('/proc/')) {
    closeFd(fd);
    throw refused(destination, 'it leads into /proc');
  }
  return fd;
}
