import { writeFileSync } from 'node:fs';
import {
  closeFd,
  isErrno,
  joinSessionKeyring,
  openat2,
  openFileSystem,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  setDomainname,
  setDumpable,
  setHostname,
  setsid,
  umask,
} from '@flotilla/linux';
import type { InitPlan, RootfsPlan } from '../plan/init-plan.ts';
import type { ProcessPlan } from '../plan/process-plan.ts';
import { step } from '../setup-error.ts';
import type { CgroupView } from './cgroup-mount.ts';
import { makeDeviceLinks, makeDevices, type OpenedDevices } from './devices.ts';
import { type CgroupEntry, createNamespaces, joinCgroups, joinNamespaces } from './enter-namespaces.ts';
import { enterWorkingDirectory, finish, workingDirInvalid } from './finish.ts';
import { makeReadonly, maskPaths } from './masks.ts';
import { mountAll, type OpenedSources, openSharedSources } from './mounts.ts';
import { ensureFolder } from './root-paths.ts';
import { detachFromHost, enterRoot, mountLayers, openRoot } from './rootfs.ts';
import { placeStdio } from './stdio.ts';
import { bindConsole, openTerminal, type Terminal, takeTerminal } from './terminal.ts';

const O_WRONLY = 1;

/** What a container's init is made from. Survives v8.serialize. */
export interface InitWork {
  readonly kind: 'init';
  readonly plan: InitPlan;
  readonly cgroups: CgroupEntry;
  readonly view: CgroupView;
  readonly newUserNamespace: boolean;
}

/** What was opened before a user namespace was entered. */
export interface Opened {
  readonly rootFd: number | undefined;
  readonly sources: OpenedSources;
  readonly devices: OpenedDevices;
  readonly nullFd: number | undefined;
}

/** Becomes a container's init, in the order that runtime-spec and kernel ask for. Never returns. */
export function runInit({ plan, cgroups, view }: InitWork, channelFd: number): never {
  const warnings = enterHostSide(plan, cgroups);
  joinNamespaces(plan.namespaces.join);
  createNamespaces(plan.namespaces);
  const sources = openSharedSources(plan.rootfs?.mounts ?? []);
  if (plan.rootfs) {
    detachFromHost();
    mountLayers(plan.rootfs);
  }
  return becomeInit(plan, channelFd, view, warnings, opened(plan.rootfs, sources));
}

const opened = (rootfs: RootfsPlan | undefined, sources: OpenedSources): Opened => ({
  rootFd: rootfs && openRoot(rootfs.target),
  sources,
  devices: new Map(),
  nullFd: undefined,
});

/** What needs the host's own /proc and cgroups. */
export function enterHostSide({ process }: InitPlan, cgroups: CgroupEntry): string[] {
  umask(0);
  joinCgroups(cgroups);
  return [...process.warnings, ...setOomScore(process)];
}

/** In all namespaces: the rest of the set-up, up to the user's program. */
export function becomeInit(
  plan: InitPlan,
  channelFd: number,
  view: CgroupView,
  warnings: readonly string[],
  opened: Opened,
): never {
  const { process, rootfs, hostname, domainname } = plan;
  setDumpable(false);
  setsid();
  joinKeyring(process);
  if (hostname !== undefined) step('set the host name', () => setHostname(hostname));
  if (domainname !== undefined) step('set the domain name', () => setDomainname(domainname));
  setSysctls(plan);
  const terminal =
    rootfs && opened.rootFd !== undefined
      ? buildRoot(rootfs, process, view, opened, opened.rootFd)
      : openHostTerminal(process);
  enterWorkingDirectory(process.cwd);
  placeStdio(process, terminal);
  if (terminal) takeTerminal(terminal, process.uid);
  return finish(process, channelFd, warnings, terminal?.masterFd);
}

function buildRoot(
  rootfs: RootfsPlan,
  process: ProcessPlan,
  view: CgroupView,
  opened: Opened,
  rootFd: number,
): Terminal | undefined {
  mountAll(rootFd, rootfs.mounts, view, opened.sources);
  if (rootfs.devices.length > 0) {
    makeDevices(rootFd, rootfs.devices, opened.devices);
    makeDeviceLinks(rootFd);
  }
  const { stdio } = process;
  const terminal = stdio.kind === 'terminal' ? step('open the terminal', () => openTerminal(rootFd, stdio)) : undefined;
  if (terminal) step('mount the console', () => bindConsole(rootFd, terminal));
  makeWorkingDirectory(rootFd, process.cwd);
  makeReadonly(rootFd, rootfs.readonlyPaths);
  maskPaths(rootFd, rootfs.maskedPaths, opened.nullFd);
  enterRoot(rootFd, rootfs);
  return terminal;
}

function openHostTerminal({ stdio }: ProcessPlan): Terminal | undefined {
  if (stdio.kind !== 'terminal') return undefined;
  const rootFd = openRoot('/');
  try {
    return step('open the terminal', () => openTerminal(rootFd, stdio));
  } finally {
    closeFd(rootFd);
  }
}

/** As Docker does: a working directory that the image lacks is made, root's. */
function makeWorkingDirectory(rootFd: number, path: string): void {
  try {
    closeFd(ensureFolder(rootFd, path));
  } catch (error) {
    if (isErrno(error, 'EROFS', 'EACCES')) return; // entering it will say that it is missing
    if (isErrno(error, 'ENOTDIR', 'ELOOP'))
      throw workingDirInvalid(path, error instanceof Error ? error.message : '', error);
    throw error;
  }
}

function setOomScore({ oomScoreAdj }: ProcessPlan): string[] {
  if (oomScoreAdj === undefined) return [];
  try {
    writeFileSync('/proc/self/oom_score_adj', String(oomScoreAdj));
    return [];
  } catch (error) {
    if (!isErrno(error, 'EACCES', 'EPERM')) throw error;
    return [`oom_score_adj could not be lowered to ${oomScoreAdj}: this host does not allow it (CAP_SYS_RESOURCE)`];
  }
}

/** Leaves the engine's session keyring. A kernel without keyrings has nothing to leave. */
export function joinKeyring({ keyring }: ProcessPlan): void {
  try {
    joinSessionKeyring(keyring);
  } catch (error) {
    if (!isErrno(error, 'ENOSYS', 'EDQUOT', 'EPERM')) throw error;
  }
}

/** Through a procfs that nobody else has, so that no mount can put another file in the way (CVE-2025-52881). */
function setSysctls({ sysctls }: InitPlan): void {
  if (sysctls.length === 0) return;
  const procFd = step('mount a private /proc', () => openFileSystem({ type: 'proc' }));
  for (const { path, value } of sysctls) {
    step(`set ${path}`, () => {
      const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
      const fd = openat2(procFd, `sys/${path}`, { flags: O_WRONLY, resolve });
      writeFileSync(fd, value);
      closeFd(fd);
    });
  }
  closeFd(procFd);
}
