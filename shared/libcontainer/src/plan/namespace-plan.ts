import { statSync } from 'node:fs';
import { invalidField } from '@flotilla/errors';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '@flotilla/linux';
import type { IdMapping, LinuxNamespace, LinuxNamespaceType } from '@flotilla/oci';
import { unsupported } from '../setup-error.ts';
import { checkNumber } from './process-plan.ts';

/** CLONE_NEW… by OCI name. */
export const namespaceFlags: Readonly<Record<Exclude<LinuxNamespaceType, 'time'>, number>> = {
  user: CLONE_NEWUSER,
  cgroup: CLONE_NEWCGROUP,
  ipc: CLONE_NEWIPC,
  uts: CLONE_NEWUTS,
  network: CLONE_NEWNET,
  pid: CLONE_NEWPID,
  mount: CLONE_NEWNS,
};

/** Name below /proc/<pid>/ns. */
const procNames: Readonly<Record<keyof typeof namespaceFlags, string>> = {
  user: 'user',
  cgroup: 'cgroup',
  ipc: 'ipc',
  uts: 'uts',
  network: 'net',
  pid: 'pid',
  mount: 'mnt',
};

/** A namespace to join. */
export interface NamespaceJoin {
  readonly type: keyof typeof namespaceFlags;
  readonly path: string;
  readonly flag: number;
}

/** What a container's init does about namespaces; those in neither list are the host's. */
export interface NamespacePlan {
  /** Bits of namespaceFlags. */
  readonly create: number;
  readonly join: readonly NamespaceJoin[];
  /** Lines of uid_map and gid_map of a new user namespace. */
  readonly uidMap: string;
  readonly gidMap: string;
}

/** Checks `linux.namespaces` with its mappings. */
export function planNamespaces(
  namespaces: readonly LinuxNamespace[],
  uidMappings: readonly IdMapping[],
  gidMappings: readonly IdMapping[],
): NamespacePlan {
  let create = 0;
  const join: NamespaceJoin[] = [];
  const seen = new Set<string>();
  for (const { type, path } of namespaces) {
    const field = `linux.namespaces.${type}`;
    if (type === 'time') throw unsupported(field, 'time namespaces are not offered');
    const flag = namespaceFlags[type];
    if (flag === undefined) throw invalidField('linux.namespaces.type', 'a namespace of config-linux.md', type);
    if (seen.has(type)) throw invalidField(field, 'listed once');
    seen.add(type);
    if (path === undefined || path === '') create |= flag;
    else if (!path.startsWith('/')) throw invalidField(`${field}.path`, 'an absolute path', path);
    else join.push({ type, path, flag });
  }
  const newUser = (create & CLONE_NEWUSER) !== 0;
  if (newUser && (uidMappings.length === 0 || gidMappings.length === 0)) {
    throw invalidField('linux.uidMappings and linux.gidMappings', 'given with a new user namespace');
  }
  if (!newUser && uidMappings.length + gidMappings.length > 0 && !seen.has('user')) {
    throw invalidField('linux.uidMappings', 'absent without a user namespace');
  }
  return {
    create,
    join,
    uidMap: mapLines(uidMappings, 'linux.uidMappings'),
    gidMap: mapLines(gidMappings, 'linux.gidMappings'),
  };
}

/** user_namespaces(7), at most 340 lines. */
function mapLines(mappings: readonly IdMapping[], field: string): string {
  if (mappings.length > 340) throw invalidField(field, 'at most 340 entries', String(mappings.length));
  const most = 2 ** 32 - 1;
  return mappings
    .map(({ containerID, hostID, size }) => {
      checkNumber(containerID, `${field}.containerID`, 0, most);
      checkNumber(hostID, `${field}.hostID`, 0, most);
      checkNumber(size, `${field}.size`, 1, most);
      return `${containerID} ${hostID} ${size}\n`;
    })
    .join('');
}

/** Whether the container has one of its own: a new one, or one that it joins and that is not this process's. */
export function hasOwnNamespace(plan: NamespacePlan, type: keyof typeof namespaceFlags): boolean {
  if (plan.create & namespaceFlags[type]) return true;
  const join = plan.join.find((one) => one.type === type);
  return join !== undefined && !isOurs(join);
}

function isOurs({ type, path }: NamespaceJoin): boolean {
  const theirs = statSync(path, { throwIfNoEntry: false });
  const ours = statSync(`/proc/self/ns/${procNames[type]}`);
  return theirs?.ino === ours.ino && theirs.dev === ours.dev;
}
