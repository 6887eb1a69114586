import {
  applyCapabilityChanges,
  defaultMaskedPaths,
  defaultReadonlyPaths,
  defaultSeccompProfile,
  toCapabilitySets,
} from '@flotilla/libcontainer/defaults';
import type {
  LinuxDevice,
  LinuxDeviceCgroup,
  LinuxNamespace,
  LinuxNamespaceType,
  LinuxSeccomp,
  Process,
  Spec,
} from '@flotilla/oci';
import type { ContainerConfig, ImageConfig, MountConfig } from '../container-config.ts';
import type { HostFacts } from '../host-facts.ts';
import type { ResolvedUser } from '../users.ts';
import { cgroupnsMode, ipcMode, utsMode } from '../validation/modes.ts';
import { parseSecurityOptions, type SecurityOptions } from '../validation/security-options.ts';
import { parseUlimits } from '../validation/ulimits.ts';
import { mergeArgs, mergeEnv, mergeWorkingDir } from './merge-config.ts';
import { buildMounts, type EtcFiles, initTarget, rootPropagation } from './mounts.ts';
import { buildResources } from './resources.ts';
import { resolveSeccompProfile } from './seccomp-profile.ts';

/** A namespace: a new one, the host's, or one that a file stands for. */
export type NamespaceChoice = 'new' | 'host' | { readonly path: string };

export interface SpecInput {
  readonly config: ContainerConfig;
  readonly image: ImageConfig;
  readonly user: ResolvedUser;
  readonly hostname: string;
  /** Sources resolved to paths of the host. */
  readonly mounts: readonly MountConfig[];
  readonly etc: EtcFiles;
  readonly network: NamespaceChoice;
  readonly ipc: NamespaceChoice;
  readonly pid: NamespaceChoice;
  /** `/<instance>/<container id>`. */
  readonly cgroupsPath: string;
  readonly devices: readonly LinuxDevice[];
  readonly deviceRules: readonly LinuxDeviceCgroup[];
  readonly facts: HostFacts;
}

/** Merges request and image into the runtime's config.json (OCI runtime-spec, config.md and config-linux.md). */
export function buildSpec(input: SpecInput): Spec {
  const { config, hostname, facts, devices } = input;
  const security = parseSecurityOptions(config.securityOptions, facts);
  const capabilities = capabilitiesOf(config);
  const open = config.privileged || security.systemPathsUnconfined;
  const uts = utsMode(config.utsMode).kind;
  const seccomp = buildSeccomp(config, security, capabilities, facts);
  return {
    ociVersion: '1.2.0',
    process: buildProcess(input, capabilities, security),
    root: { path: 'rootfs', readonly: config.readOnlyRoot },
    ...(uts === 'host' ? {} : { hostname }),
    ...(uts === 'host' || config.domainname === '' ? {} : { domainname: config.domainname }),
    mounts: buildMounts({
      mounts: input.mounts,
      etc: input.etc,
      shmSizeBytes: config.shmSizeBytes,
      privileged: config.privileged,
      sharedShm: sharedShm(input),
      hostIpc: ipcMode(config.ipcMode).kind === 'host',
      initPath: config.init ? facts.initPath : undefined,
    }),
    linux: {
      namespaces: buildNamespaces(input),
      cgroupsPath: input.cgroupsPath,
      resources: buildResources(config, input.deviceRules, facts),
      rootfsPropagation: rootPropagation(input.mounts),
      ...(Object.keys(config.sysctls).length > 0 ? { sysctl: config.sysctls } : {}),
      ...(devices.length > 0 ? { devices } : {}),
      ...(seccomp === undefined ? {} : { seccomp }),
      ...(open ? {} : { maskedPaths: defaultMaskedPaths, readonlyPaths: defaultReadonlyPaths }),
    },
  };
}

/** Shared memory goes with the IPC namespace. Other runtimes than ours cannot bind what is mounted in a container alone. */
function sharedShm({ ipc, config }: SpecInput): string | undefined {
  if (typeof ipc === 'string' || (config.runtime !== '' && config.runtime !== 'flotilla')) return undefined;
  return ipc.path.replace(/\/ns\/ipc$/, '/root/dev/shm');
}

/** Names with `CAP_`. */
export function capabilitiesOf(config: ContainerConfig): string[] {
  return applyCapabilityChanges({
    add: config.capabilitiesAdd,
    drop: config.capabilitiesDrop,
    privileged: config.privileged,
  });
}

function buildProcess(
  { config, image, user, hostname }: SpecInput,
  capabilities: readonly string[],
  { noNewPrivileges }: SecurityOptions,
): Process {
  const args = mergeArgs(config, image);
  const rlimits = parseUlimits(config.ulimits);
  const { uid, gid, additionalGids, home } = user;
  return {
    terminal: config.tty,
    user: { uid, gid, additionalGids },
    args: config.init ? [initTarget, '--', ...args] : args,
    env: mergeEnv(image.env, config.env, { hostname, tty: config.tty, home }),
    cwd: mergeWorkingDir(config, image),
    capabilities: processCapabilities(capabilities, uid),
    noNewPrivileges,
    ...(rlimits.length > 0 ? { rlimits } : {}),
    ...(config.oomScoreAdj === 0 ? {} : { oomScoreAdj: config.oomScoreAdj }),
  };
}

/** Another user than root has the capabilities in its bounding set only, as execve(2) would leave it. */
export function processCapabilities(capabilities: readonly string[], uid: number) {
  const sets = toCapabilitySets(capabilities);
  return uid === 0 ? sets : { ...sets, effective: [], permitted: [] };
}

function buildSeccomp(
  config: ContainerConfig,
  { seccomp }: SecurityOptions,
  capabilities: readonly string[],
  { arch, kernelRelease }: HostFacts,
): LinuxSeccomp | undefined {
  if (seccomp === 'unconfined' || (seccomp === 'default' && config.privileged)) return undefined;
  if (seccomp === 'default') return defaultSeccompProfile(capabilities, arch === 'arm64' ? 'arm64' : 'x64');
  return resolveSeccompProfile(seccomp, { capabilities, arch, kernelRelease });
}

function buildNamespaces({ config, network, ipc, pid }: SpecInput): LinuxNamespace[] {
  const own = (host: boolean): NamespaceChoice => (host ? 'host' : 'new');
  const choices: [LinuxNamespaceType, NamespaceChoice][] = [
    ['mount', 'new'],
    ['network', network],
    ['uts', own(utsMode(config.utsMode).kind === 'host')],
    ['ipc', ipc],
    ['pid', pid],
    ['cgroup', own(cgroupnsMode(config.cgroupnsMode).kind === 'host')],
  ];
  return choices.flatMap(([type, choice]) => {
    if (choice === 'host') return [];
    return [choice === 'new' ? { type } : { type, path: choice.path }];
  });
}
