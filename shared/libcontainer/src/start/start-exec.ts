import { statSync } from 'node:fs';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  closeFd,
  hasExecuted,
} from '@flotilla/linux';
import type { Process, Spec } from '@flotilla/oci';
import type { ContainerCgroup } from '../cgroup/container-cgroup.ts';
import { openChannel } from '../channel.ts';
import type { Work } from '../child/run-work.ts';
import { type ContainerStdio, planProcess } from '../plan/process-plan.ts';
import { step } from '../setup-error.ts';
import { release } from './create-init.ts';
import { endedEarly, replacingTheDead } from './ended-early.ts';
import type { Child, Starter } from './start-request.ts';
import { discard, start } from './starter.ts';

/** A further process to start in a running container. */
export interface ExecOptions {
  /** Container's init. */
  readonly containerPid: number;
  readonly containerPidfd: number;
  /** The container's config.json: its seccomp profile holds for the exec, too. */
  readonly spec: Spec;
  readonly process: Process;
  readonly cgroup: ContainerCgroup;
  /** Descriptors stay the caller's. */
  readonly stdio: ContainerStdio;
  readonly starter: Starter;
}

/** A process that runs. */
export interface StartedExec {
  /** On the host. A child of this process, which must reap it. */
  readonly pid: number;
  /** Close-on-exec; the caller's to close. */
  readonly pidfd: number;
  /** Terminal's master end, close-on-exec; the caller's to close. */
  readonly consoleFd: number | undefined;
  readonly warnings: readonly string[];
}

const usualNamespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;

/**
 * Starts a process in a container's namespaces and cgroups and returns once its program has been executed. Throws as
 * CreatedInit.release does; nothing is left then.
 */
export function startExec(options: ExecOptions): StartedExec {
  return replacingTheDead(() => startOnce(options));
}

function startOnce(options: ExecOptions): StartedExec {
  const { containerPid, containerPidfd, spec, cgroup, stdio, starter } = options;
  const context = { stdio, seccomp: spec.linux?.seccomp, keyring: `_ses.exec.${containerPid}` };
  const process = planProcess(options.process, context);
  const work = (bornIntoV2: boolean): Work => ({
    kind: 'exec',
    process,
    cgroups: cgroup.entry(bornIntoV2),
    initPidfd: containerPidfd,
    namespaces: usualNamespaces | (isInOtherUserNamespace(containerPid) ? CLONE_NEWUSER : 0),
  });
  const { parent, childFd } = openChannel();
  const cgroupFd = cgroup.openV2();
  let child: Child | undefined;
  let consoleFd: number | undefined;
  try {
    const fds = stdio.kind === 'descriptors' ? [stdio.stdin, stdio.stdout, stdio.stderr] : [];
    child = step('make the process', () =>
      start(starter, {
        work,
        channelFd: childFd,
        fds: [containerPidfd, ...fds],
        pidNamespace: { kind: 'joined', fd: containerPidfd },
        cgroupFd,
      }),
    );
    closeFd(childFd);
    const ready = parent.receive();
    if (ready?.type !== 'ready') throw endedEarly();
    consoleFd = parent.takeFd();
    // The channel's end says that it executed its program, or that it died on the way there.
    if (!release(parent) || !hasExecuted(child.pid)) throw endedEarly();
    return { ...child, consoleFd, warnings: ready.warnings };
  } catch (error) {
    if (child) discard(child);
    else closeFd(childFd);
    parent[Symbol.dispose]();
    if (consoleFd !== undefined) closeFd(consoleFd);
    throw error;
  } finally {
    if (cgroupFd !== undefined) closeFd(cgroupFd);
  }
}

/** setns(2) refuses to enter the user namespace that one is in. */
function isInOtherUserNamespace(pid: number): boolean {
  return statSync(`/proc/${pid}/ns/user`).ino !== statSync('/proc/self/ns/user').ino;
}
