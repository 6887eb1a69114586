import { defaultMountsFor } from '@flotilla/libcontainer/defaults';
import type { Mount } from '@flotilla/oci';
import type { MountConfig } from '../container-config.ts';

/** Files of the container that the engine writes, on the host. */
export interface EtcFiles {
  readonly hostname: string;
  readonly hosts: string;
  readonly resolvConf: string;
}

export interface MountInput {
  /** The user's and the image's, sources resolved to paths of the host. */
  readonly mounts: readonly MountConfig[];
  readonly etc: EtcFiles;
  readonly shmSizeBytes: bigint;
  readonly privileged: boolean;
  /** Whose /dev/shm is used: a path of the host; undefined for one of its own. */
  readonly sharedShm: string | undefined;
  readonly hostIpc: boolean;
  /** On the host; runs as pid 1. */
  readonly initPath: string | undefined;
}

/** Where the init of `--init` is inside. */
export const initTarget = '/dev/init';

/** tmpfs of Docker: nothing in it runs, is a device or changes its user, unless an option says so. */
const tmpfsDefaults = ['noexec', 'nosuid', 'nodev'];
const opposites: Readonly<Record<string, string>> = { exec: 'noexec', suid: 'nosuid', dev: 'nodev' };

/** All mounts in order: the usual ones, the engine's files, the user's from the outermost inwards. */
export function buildMounts(input: MountInput): Mount[] {
  const { mounts, etc, shmSizeBytes, privileged, initPath } = input;
  const targets = mounts.map(({ target }) => target);
  const free = (mount: Mount) => !targets.includes(mount.destination);
  const shared = sharedIpc(input);
  const usual = defaultMountsFor({
    privileged,
    without: [...targets, ...shared.map(({ destination }) => destination)],
    ...(shmSizeBytes > 0n ? { shmSizeBytes: Number(shmSizeBytes) } : {}),
  });
  const files = [
    bind(etc.hostname, '/etc/hostname', ['rw']),
    bind(etc.hosts, '/etc/hosts', ['rw']),
    bind(etc.resolvConf, '/etc/resolv.conf', ['rw']),
  ];
  const own = [...mounts].sort((a, b) => depth(a.target) - depth(b.target)).map(buildMount);
  const init = initPath === undefined ? [] : [bind(initPath, initTarget, ['ro'])];
  return [...usual, ...shared.filter(free), ...files.filter(free), ...own, ...init];
}

/** A message queue file system shows the queues of its IPC namespace, whoever mounts it: only the host's is bound. */
function sharedIpc({ hostIpc, sharedShm }: MountInput): Mount[] {
  if (hostIpc) return [bind('/dev/shm', '/dev/shm', ['rw']), bind('/dev/mqueue', '/dev/mqueue', ['rw'])];
  return sharedShm === undefined ? [] : [bind(sharedShm, '/dev/shm', ['rw', 'nosuid', 'noexec', 'nodev'])];
}

function bind(source: string, destination: string, options: readonly string[]): Mount {
  return { destination, type: 'bind', source, options: ['rbind', ...options, 'rprivate'] };
}

function buildMount(mount: MountConfig): Mount {
  const access = mount.readOnly ? 'ro' : 'rw';
  if (mount.type !== 'MOUNT_TYPE_TMPFS') {
    const { readOnly, nonRecursive, readOnlyNonRecursive, volumeSubpath: subpath } = mount;
    const options = [
      nonRecursive ? 'bind' : 'rbind',
      access,
      // As Docker since 25: what is mounted below is read-only, too.
      ...(readOnly && !nonRecursive && !readOnlyNonRecursive ? ['rro'] : []),
      mount.propagation || 'rprivate',
    ];
    const bound = { destination: mount.target, type: 'bind', source: mount.source, options };
    return subpath === '' ? bound : { ...bound, subpath };
  }
  const refused = new Set(mount.tmpfsOptions.map((option) => opposites[option]));
  const flags = mount.tmpfsOptions.filter((option) => !Object.hasOwn(opposites, option));
  const options = [
    ...new Set([
      access,
      ...tmpfsDefaults.filter((option) => !refused.has(option)),
      ...(mount.tmpfsSizeBytes > 0n ? [`size=${mount.tmpfsSizeBytes}`] : []),
      ...(mount.tmpfsMode > 0 ? [`mode=${mount.tmpfsMode.toString(8)}`] : []),
      ...flags,
    ]),
  ];
  return { destination: mount.target, type: 'tmpfs', source: 'tmpfs', options };
}

function depth(path: string): number {
  return path.split('/').length;
}

/**
 * Propagation of the root as Docker has it: where a mount is to hear of the host's mounts, or the host of the container's,
 * making all private would undo it.
 */
export function rootPropagation(mounts: readonly MountConfig[]): 'rprivate' | 'rslave' | 'shared' {
  const modes = new Set(mounts.map(({ propagation }) => propagation.replace(/^r/, '')));
  if (modes.has('shared')) return 'shared';
  return modes.has('slave') ? 'rslave' : 'rprivate';
}
