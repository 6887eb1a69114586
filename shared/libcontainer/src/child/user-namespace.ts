import { constants, openSync } from 'node:fs';
import {
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_PARENT,
  exitNow,
  isErrno,
  O_PATH,
  openTree,
  raiseLoopback,
  unshare,
} from '@flotilla/linux';
import { cloneInto } from '@flotilla/linux/fork';
import { awaitSign, tell } from '../channel.ts';
import type { InitPlan, RootfsPlan } from '../plan/init-plan.ts';
import { step } from '../setup-error.ts';
import { attach } from './attach.ts';
import { openBindSource } from './bind-source.ts';
import { becomeNamespaceRoot } from './credentials.ts';
import { joinNamespaces } from './enter-namespaces.ts';
import { guarded } from './finish.ts';
import { openNullDevice } from './masks.ts';
import { openSharedSources } from './mounts.ts';
import { detachFromHost, mountLayers, takeTree } from './rootfs.ts';
import { becomeInit, enterHostSide, type InitWork, type Opened } from './run-init.ts';

/**
 * A new user namespace takes two processes. This one, still root of the host, opens what the container's root may not
 * reach: layers, sources of bind mounts, devices. Then it makes the namespaces, in which its successor, a child of this
 * one's parent (CLONE_PARENT), becomes init. user_namespaces(7).
 */
export function runInUserNamespace({ plan, cgroups, view }: InitWork, channelFd: number): never {
  const { namespaces, rootfs } = plan;
  const warnings = enterHostSide(plan, cgroups);
  joinNamespaces(namespaces.join);
  const opened = rootfs ? openOnHost(rootfs) : nothing;
  step('make a user namespace', () => unshare(CLONE_NEWUSER));
  tell(channelFd, { type: 'mappings' });
  if (!awaitSign(channelFd)) exitNow(1);
  const flags = namespaces.create & ~(CLONE_NEWUSER | CLONE_NEWPID);
  step('make namespaces', () => unshare(flags));
  if (flags & CLONE_NEWNET) step('bring up the loopback interface', raiseLoopback);
  const successor = step('make init', () => cloneInto({ flags: CLONE_PARENT | (namespaces.create & CLONE_NEWPID) }));
  if (successor === undefined) return guarded(channelFd, () => succeed(plan, channelFd, view, warnings, opened));
  tell(channelFd, { type: 'successor', pid: successor.pid });
  exitNow(0);
}

const nothing: Opened = { rootFd: undefined, sources: new Map(), devices: new Map(), nullFd: undefined };

function succeed(
  plan: InitPlan,
  channelFd: number,
  view: InitWork['view'],
  warnings: readonly string[],
  opened: Opened,
): never {
  becomeNamespaceRoot();
  const { rootFd } = opened;
  if (rootFd !== undefined) {
    // Anywhere will do until pivot_root(2): a folder that every host has and everybody may enter.
    step('attach the root filesystem', () => attach(rootFd, openSync('/sys', O_PATH | constants.O_DIRECTORY), '/sys'));
  }
  return becomeInit(plan, channelFd, view, warnings, opened);
}

function openOnHost(rootfs: RootfsPlan): Opened {
  step('make a mount namespace', () => unshare(CLONE_NEWNS));
  const sources = openSharedSources(rootfs.mounts);
  detachFromHost();
  mountLayers(rootfs);
  for (const [i, plan] of rootfs.mounts.entries()) {
    if (plan.type !== 'bind' || sources.has(i)) continue;
    sources.set(
      i,
      step(`open ${plan.source}`, () => openBindSource(plan.source, plan)),
    );
  }
  const devices = new Map<string, number>();
  for (const { path } of rootfs.devices) {
    const fd = openIfThere(path);
    if (fd !== undefined) devices.set(path, fd);
  }
  return {
    rootFd: step('take the root filesystem along', () => takeTree(rootfs.target)),
    sources,
    devices,
    nullFd: openNullDevice(),
  };
}

function openIfThere(path: string): number | undefined {
  try {
    return openTree(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}
