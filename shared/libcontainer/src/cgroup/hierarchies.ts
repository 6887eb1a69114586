import { readFileSync } from 'node:fs';

/** A mounted cgroup tree of the host. */
export interface Hierarchy {
  readonly version: 1 | 2;
  /** Last part of its mount point: `cpu,cpuacct`, `unified`. */
  readonly name: string;
  readonly mountPoint: string;
  /** v1: `cpu`, `cpuacct`; a named one has none. v2: those that the root offers. */
  readonly controllers: readonly string[];
  /** v1: what mount(2) needs to find it again: `cpu`, `name=systemd`. */
  readonly options: readonly string[];
}

/** Which cgroups the host has: config-linux.md, Control groups. */
export type CgroupMode = 'v1' | 'hybrid' | 'v2';

const v1Controllers = new Set([
  'blkio',
  'cpu',
  'cpuacct',
  'cpuset',
  'devices',
  'freezer',
  'hugetlb',
  'memory',
  'misc',
  'net_cls',
  'net_prio',
  'perf_event',
  'pids',
  'rdma',
]);

let known: readonly Hierarchy[] | undefined;

/** The host's cgroup trees, as this process's mount namespace has them. Read once: a host does not change them. */
export function readHierarchies(): readonly Hierarchy[] {
  known ??= parseHierarchies(readFileSync('/proc/self/mountinfo', 'utf8'), (mountPoint) =>
    readFileSync(`${mountPoint}/cgroup.controllers`, 'utf8').trim().split(' ').filter(Boolean),
  );
  return known;
}

/** From proc_pid_mountinfo(5); of several mounts of one tree the first. */
export function parseHierarchies(mountinfo: string, v2Controllers: (mountPoint: string) => string[]): Hierarchy[] {
  const found = new Map<string, Hierarchy>();
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    const fields = before?.split(' ') ?? [];
    const [type, , superOptions = ''] = after?.split(' ') ?? [];
    const [device, rootPath, mountPoint = ''] = fields.slice(2, 5);
    if ((type !== 'cgroup' && type !== 'cgroup2') || device === undefined || found.has(device)) continue;
    if (rootPath !== '/') continue;
    const name = mountPoint.slice(mountPoint.lastIndexOf('/') + 1);
    const options = superOptions.split(',').filter((option) => v1Controllers.has(option) || option.startsWith('name='));
    found.set(device, {
      version: type === 'cgroup2' ? 2 : 1,
      name,
      mountPoint,
      controllers:
        type === 'cgroup2' ? v2Controllers(mountPoint) : options.filter((option) => v1Controllers.has(option)),
      options: type === 'cgroup2' ? [] : options,
    });
  }
  return [...found.values()];
}

/** Hybrid: v1 controllers beside a v2 tree. */
export function cgroupMode(hierarchies: readonly Hierarchy[] = readHierarchies()): CgroupMode {
  if (!hierarchies.some(({ version }) => version === 1)) return 'v2';
  return hierarchies.some(({ version }) => version === 2) ? 'hybrid' : 'v1';
}
