import {
  closeFd,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  mkdirat,
  O_PATH,
  openat2,
  openFileSystem,
  openTree,
  setMountAttributes,
  symlinkat,
} from '@flotilla/linux';
import type { Hierarchy } from '../cgroup/hierarchies.ts';
import type { MountPlan } from '../plan/mount-plan.ts';
import { attach } from './attach.ts';
import { ensureFolder } from './root-paths.ts';

/** What a container sees of its cgroups. */
export interface CgroupView {
  readonly hierarchies: readonly Hierarchy[];
  /** Below each hierarchy; undefined: the container has none of its own. */
  readonly path: string | undefined;
  /** It has a cgroup namespace: its own group is the root that a new mount shows. */
  readonly namespaced: boolean;
}

/** On a v2 host one mount; else a tmpfs with a mount for each hierarchy, and links `cpu` for `cpu,cpuacct`. */
export function mountCgroups(rootFd: number, plan: MountPlan, view: CgroupView): void {
  const { hierarchies } = view;
  const only = hierarchies.length === 1 ? hierarchies[0] : undefined;
  const folderFd = ensureFolder(rootFd, plan.destination);
  if (only?.version === 2) {
    mountHierarchy(only, folderFd, plan, view);
    return;
  }
  const tmpfsFd = openFileSystem({
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['mode=755'],
    attributes: safe(plan) & ~MOUNT_ATTR_RDONLY,
  });
  try {
    attach(tmpfsFd, folderFd, plan.destination);
    for (const hierarchy of hierarchies) {
      mkdirat(tmpfsFd, hierarchy.name, 0o755);
      mountHierarchy(hierarchy, openat2(tmpfsFd, hierarchy.name, { flags: O_PATH }), plan, view);
      if (hierarchy.controllers.length > 1) {
        for (const controller of hierarchy.controllers) symlinkat(hierarchy.name, tmpfsFd, controller);
      }
    }
    setMountAttributes(tmpfsFd, { set: safe(plan) });
  } finally {
    closeFd(tmpfsFd);
  }
}

/** Never with set-id programs, devices or programs; read-only as asked. */
const safe = ({ attributes }: MountPlan): number =>
  attributes.set | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

function mountHierarchy(hierarchy: Hierarchy, targetFd: number, plan: MountPlan, view: CgroupView): void {
  const mountFd = openHierarchy(hierarchy, view, safe(plan));
  try {
    attach(mountFd, targetFd, `${plan.destination}/${hierarchy.name}`);
  } finally {
    closeFd(mountFd);
  }
}

function openHierarchy(
  { version, mountPoint, options }: Hierarchy,
  { namespaced, path }: CgroupView,
  set: number,
): number {
  if (namespaced && version === 2) return openFileSystem({ type: 'cgroup2', source: 'cgroup', attributes: set });
  if (namespaced) return openFileSystem({ type: 'cgroup', source: 'cgroup', options, attributes: set });
  const fd = openTree(`${mountPoint}${path ?? ''}`);
  setMountAttributes(fd, { set });
  return fd;
}
