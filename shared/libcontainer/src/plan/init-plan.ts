import { isAbsolute, join } from 'node:path';
import { invalidField } from '@flotilla/errors';
import { CLONE_NEWNS, CLONE_NEWUTS, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE } from '@flotilla/linux';
import type { LinuxDevice, Spec } from '@flotilla/oci';
import { defaultDevices } from '../defaults/devices.ts';
import { checkOverProc, cleanPath, type MountPlan, planMount } from './mount-plan.ts';
import { hasOwnNamespace, type NamespacePlan, planNamespaces } from './namespace-plan.ts';
import { type ContainerStdio, checkNumber, type ProcessPlan, planProcess } from './process-plan.ts';
import { planSysctls, type SysctlPlan } from './sysctl-plan.ts';

/** A mount as mount(2) takes it (launcher.v1.RootfsMount). */
export interface RootfsMount {
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** All that the child needs to become a container's init. Survives v8.serialize. */
export interface InitPlan {
  readonly containerId: string;
  readonly process: ProcessPlan;
  readonly namespaces: NamespacePlan;
  readonly rootfs: RootfsPlan | undefined;
  readonly hostname: string | undefined;
  readonly domainname: string | undefined;
  readonly sysctls: readonly SysctlPlan[];
}

/** The file tree, present when the container has a mount namespace of its own. */
export interface RootfsPlan {
  /** Folder on the host that it is put together at. */
  readonly target: string;
  /** One over another. */
  readonly layers: readonly MountPlan[];
  readonly readonly: boolean;
  readonly propagation: number | undefined;
  readonly mounts: readonly MountPlan[];
  /** Empty when /dev is a folder of the host's. */
  readonly devices: readonly DevicePlan[];
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
}

/** A device node. */
export interface DevicePlan {
  readonly path: string;
  readonly type: 'c' | 'b' | 'p';
  readonly major: number;
  readonly minor: number;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** What {@link planInit} starts from. */
export interface InitRequest {
  readonly spec: Spec;
  readonly containerId: string;
  readonly bundleDir: string;
  readonly rootfsMounts: readonly RootfsMount[];
  readonly stdio: ContainerStdio;
}

/** Checks a config.json and decides everything that can be decided before a process is made. Throws INVALID_FIELD. */
export function planInit({ spec, containerId, bundleDir, rootfsMounts, stdio }: InitRequest): InitPlan {
  const { process, linux = {} } = spec;
  if (!process) throw invalidField('process', 'present');
  const { namespaces = [], uidMappings = [], gidMappings = [], sysctl = {}, seccomp } = linux;
  const namespacePlan = planNamespaces(namespaces, uidMappings, gidMappings);
  const own = (type: 'ipc' | 'network' | 'uts') => hasOwnNamespace(namespacePlan, type);
  if (spec.hostname !== undefined && !(namespacePlan.create & CLONE_NEWUTS)) {
    if (!own('uts')) throw invalidField('hostname', 'absent without a uts namespace', spec.hostname);
  }
  return {
    containerId,
    process: planProcess(process, { stdio, seccomp, keyring: `_ses.${containerId}` }),
    namespaces: namespacePlan,
    rootfs: namespacePlan.create & CLONE_NEWNS ? planRootfs(spec, bundleDir, rootfsMounts) : refuseRootfs(spec),
    hostname: namespacePlan.create & CLONE_NEWUTS ? spec.hostname : undefined,
    domainname: namespacePlan.create & CLONE_NEWUTS ? spec.domainname : undefined,
    sysctls: planSysctls(sysctl, { ipc: own('ipc'), network: own('network'), uts: own('uts') }),
  };
}

const propagations: Readonly<Record<string, number>> = {
  private: MS_PRIVATE,
  rprivate: MS_PRIVATE | MS_REC,
  slave: MS_SLAVE,
  rslave: MS_SLAVE | MS_REC,
  shared: MS_SHARED,
  rshared: MS_SHARED | MS_REC,
  unbindable: MS_UNBINDABLE,
  runbindable: MS_UNBINDABLE | MS_REC,
};

function planRootfs(spec: Spec, bundleDir: string, rootfsMounts: readonly RootfsMount[]): RootfsPlan {
  const { root, linux = {}, mounts = [] } = spec;
  const target = join(bundleDir, 'rootfs');
  const { rootfsPropagation, maskedPaths = [], readonlyPaths = [], devices = [] } = linux;
  const propagation = rootfsPropagation ? propagations[rootfsPropagation] : undefined;
  if (rootfsPropagation && propagation === undefined) {
    throw invalidField('linux.rootfsPropagation', `one of ${Object.keys(propagations).join(', ')}`, rootfsPropagation);
  }
  const planned = mounts.map((mount, i) => {
    const plan = planMount(mount, `mounts[${i}]`);
    checkOverProc(plan, `mounts[${i}]`);
    return plan;
  });
  const hostDev = planned.some(({ destination, type }) => destination === '/dev' && type === 'bind');
  return {
    target,
    layers: rootfsMounts.length > 0 ? rootfsMounts.map(planLayer) : [rootPathLayer(root?.path, bundleDir)],
    readonly: root?.readonly ?? false,
    propagation,
    mounts: planned,
    devices: hostDev ? [] : planDevices(devices),
    maskedPaths: maskedPaths.map((path) => cleanPath(path, 'linux.maskedPaths')),
    readonlyPaths: readonlyPaths.map((path) => cleanPath(path, 'linux.readonlyPaths')),
  };
}

function planLayer({ type, source, options }: RootfsMount, i: number): MountPlan {
  return planMount({ destination: '/', type, source, options }, `rootfs_mounts[${i}]`);
}

function rootPathLayer(path: string | undefined, bundleDir: string): MountPlan {
  if (!path) throw invalidField('root.path', 'the folder of the root filesystem', path);
  const source = isAbsolute(path) ? path : join(bundleDir, path);
  return planMount({ destination: '/', type: 'bind', source, options: ['rbind'] }, 'root');
}

function planDevices(devices: readonly LinuxDevice[]): DevicePlan[] {
  const listed = new Set(devices.map(({ path }) => path));
  return [...defaultDevices.filter(({ path }) => !listed.has(path)), ...devices].map((device, i) => {
    const { path, type, major = 0, minor = 0, fileMode = 0o666, uid = 0, gid = 0 } = device;
    const field = `linux.devices[${i}]`;
    if (!['c', 'u', 'b', 'p'].includes(type)) throw invalidField(`${field}.type`, 'c, u, b or p', type);
    return {
      path: cleanPath(path, `${field}.path`),
      type: type === 'u' ? 'c' : type,
      major: checkNumber(major, `${field}.major`, 0, 2 ** 32 - 1),
      minor: checkNumber(minor, `${field}.minor`, 0, 2 ** 32 - 1),
      mode: checkNumber(fileMode & 0o7777, `${field}.fileMode`, 0, 0o7777),
      uid,
      gid,
    };
  });
}

/** Without a mount namespace of its own the container's files are those of the namespace that it is in. */
function refuseRootfs({ mounts = [], linux = {} }: Spec): undefined {
  if (mounts.length > 0) throw invalidField('mounts', 'absent without a new mount namespace');
  const { maskedPaths = [], readonlyPaths = [] } = linux;
  if (maskedPaths.length + readonlyPaths.length > 0) {
    throw invalidField('linux.maskedPaths and linux.readonlyPaths', 'absent without a new mount namespace');
  }
  return undefined;
}
