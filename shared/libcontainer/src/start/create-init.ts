import { mkdirSync, openSync, writeFileSync } from 'node:fs';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  closeFd,
  hasExecuted,
  isErrno,
  pidfdOpen,
  pidfdSendSignal,
  SIGKILL,
} from '@flotilla/linux';
import type { Spec } from '@flotilla/oci';
import { ContainerCgroup } from '../cgroup/container-cgroup.ts';
import { readHierarchies } from '../cgroup/hierarchies.ts';
import { openChannel, type ParentChannel } from '../channel.ts';
import type { Work } from '../child/run-work.ts';
import { type InitPlan, planInit, type RootfsMount } from '../plan/init-plan.ts';
import type { ContainerStdio } from '../plan/process-plan.ts';
import { cleanedUp, step, unsupported } from '../setup-error.ts';
import { endedEarly, initLost, replacingTheDead } from './ended-early.ts';
import type { Child, PidNamespace, Starter } from './start-request.ts';
import { discard, start } from './starter.ts';

/** So many groups of a container may be lost. */
const mostLosses = 3;

/** A container to make. */
export interface InitOptions {
  /** config.json. Its `linux.cgroupsPath` is made and limited. */
  readonly spec: Spec;
  readonly containerId: string;
  /** Holds `rootfs`, the empty folder that the root filesystem is put together at, in the container's mount namespace only. */
  readonly bundleDir: string;
  /** Mounted one over another. None: `root.path` of the spec, relative to the bundle. */
  readonly rootfsMounts: readonly RootfsMount[];
  /** Descriptors stay the caller's. */
  readonly stdio: ContainerStdio;
  readonly starter: Starter;
}

/** A container whose init waits. */
export interface CreatedInit {
  /** On the host. A child of this process, which must reap it. */
  readonly pid: number;
  /** Close-on-exec; the caller's to close. */
  readonly pidfd: number;
  /** What this host does not allow. */
  readonly warnings: readonly string[];
  /** Terminal's master end, close-on-exec; the caller's to close. */
  readonly consoleFd: number | undefined;
  readonly cgroup: ContainerCgroup;
  /**
   * Blocks until the user's program has been executed. Throws NOT_FOUND / COMMAND_NOT_FOUND, PERMISSION_DENIED /
   * COMMAND_NOT_EXECUTABLE, FAILED_PRECONDITION / WORKING_DIR_INVALID, INTERNAL / CONTAINER_SETUP_FAILED; init has then
   * ended, with 127, 126 or 125, and is to be reaped as ever. ABORTED / INIT_LOST when it died before its program ran: the
   * container may be made anew.
   */
  release(): void;
  /** SIGKILL; nothing when it is gone. */
  kill(): void;
}

/**
 * Makes everything of a container up to the user's program: cgroups, namespaces, file tree, and init, which waits to be
 * released. If that fails nothing is left: no process, no cgroup, no mount. Blocks for some milliseconds.
 */
export function createInit(options: InitOptions): CreatedInit {
  const plan = planInit(options);
  const path = options.spec.linux?.cgroupsPath;
  if (!path) throw unsupported('linux.cgroupsPath', 'a container without a path for its cgroups');
  const isNewUser = (plan.namespaces.create & CLONE_NEWUSER) !== 0;
  if (isNewUser && options.starter === 'spawn') {
    throw unsupported(
      'linux.namespaces.user',
      'a new user namespace takes the verified fork, which does not work on this host',
    );
  }
  if (plan.rootfs) step('make the mount point', () => mkdirSync(plan.rootfs!.target, { recursive: true, mode: 0o700 }));
  const losses: string[] = [];
  for (;;) {
    const cgroup = ContainerCgroup.create(path, options.spec.linux?.resources);
    try {
      return replacingTheDead(() => new Creation(plan, cgroup, options.starter, losses).run());
    } catch (error) {
      // Anybody on the host may remove a group that has no process yet, as those do that look for empty ones.
      const isLost = !cgroup.exists();
      const failure = cleanedUp(error, () => {
        cgroup.killAll();
        cgroup.remove();
      });
      if (!isLost || losses.length === mostLosses) throw failure;
      losses.push(`somebody removed the cgroup ${path} before a process was in it: made again`);
    }
  }
}

/** One run of createInit: the parent's side of the conversation with the child. */
class Creation {
  readonly #plan: InitPlan;
  readonly #cgroup: ContainerCgroup;
  readonly #starter: Starter;
  readonly #warnings: readonly string[];

  constructor(plan: InitPlan, cgroup: ContainerCgroup, starter: Starter, warnings: readonly string[]) {
    this.#plan = plan;
    this.#cgroup = cgroup;
    this.#starter = starter;
    this.#warnings = warnings;
  }

  run(): CreatedInit {
    const { parent, childFd } = openChannel();
    let child: Child | undefined;
    try {
      try {
        child = this.#start(childFd);
      } finally {
        closeFd(childFd);
      }
      for (;;) {
        const message = parent.receive();
        if (message === undefined) throw endedEarly();
        if (message.type === 'ready') {
          return new WaitingInit(child, this.#cgroup, parent, [...this.#warnings, ...message.warnings]);
        }
        if (message.type === 'mappings') {
          this.#writeMappings(child.pid);
          parent.goOn();
        } else if (message.type === 'successor') {
          const successor = { pid: message.pid, pidfd: pidfdOpen(message.pid) };
          discard(child); // it has ended, or is about to
          child = successor;
        }
      }
    } catch (error) {
      parent[Symbol.dispose]();
      if (child) discard(child);
      throw error;
    }
  }

  #start(channelFd: number): Child {
    const { namespaces, process } = this.#plan;
    const newUser = (namespaces.create & CLONE_NEWUSER) !== 0;
    const view = {
      hierarchies: readHierarchies(),
      path: this.#cgroup.path,
      namespaced: (namespaces.create & CLONE_NEWCGROUP) !== 0,
    };
    const work = (bornIntoV2: boolean): Work => ({
      kind: 'init',
      plan: this.#plan,
      cgroups: this.#cgroup.entry(bornIntoV2),
      view,
      newUserNamespace: newUser,
    });
    const { stdio } = process;
    const fds = stdio.kind === 'descriptors' ? [stdio.stdin, stdio.stdout, stdio.stderr] : [];
    const cgroupFd = this.#cgroup.openV2();
    const joined = namespaces.join.find(({ flag }) => flag === CLONE_NEWPID);
    const pidNamespace = this.#pidNamespace(newUser, joined && openSync(joined.path, 'r'));
    try {
      return step("make the container's first process", () =>
        start(this.#starter, { work, channelFd, fds, pidNamespace, cgroupFd }),
      );
    } finally {
      if (cgroupFd !== undefined) closeFd(cgroupFd);
      if (pidNamespace.kind === 'joined') closeFd(pidNamespace.fd);
    }
  }

  /** In a new user namespace the pid namespace is made there, to belong to it. */
  #pidNamespace(newUser: boolean, joinedFd: number | undefined): PidNamespace {
    if (joinedFd !== undefined) return { kind: 'joined', fd: joinedFd };
    return this.#plan.namespaces.create & CLONE_NEWPID && !newUser ? { kind: 'new' } : { kind: 'same' };
  }

  #writeMappings(pid: number): void {
    const { uidMap, gidMap } = this.#plan.namespaces;
    step('write the user namespace mappings', () => {
      writeFileSync(`/proc/${pid}/gid_map`, gidMap);
      writeFileSync(`/proc/${pid}/uid_map`, uidMap);
    });
  }
}

class WaitingInit implements CreatedInit {
  readonly pid: number;
  readonly pidfd: number;
  readonly warnings: readonly string[];
  readonly consoleFd: number | undefined;
  readonly cgroup: ContainerCgroup;
  readonly #channel: ParentChannel;

  constructor({ pid, pidfd }: Child, cgroup: ContainerCgroup, channel: ParentChannel, warnings: readonly string[]) {
    this.pid = pid;
    this.pidfd = pidfd;
    this.cgroup = cgroup;
    this.warnings = [...cgroup.warnings, ...warnings];
    this.consoleFd = channel.takeFd();
    this.#channel = channel;
  }

  release(): void {
    // The channel's end says that it executed its program, or that it died on the way there.
    if (!release(this.#channel) || !hasExecuted(this.pid)) throw initLost();
  }

  kill(): void {
    try {
      pidfdSendSignal(this.pidfd, SIGKILL);
    } catch (error) {
      if (!isErrno(error, 'ESRCH')) throw error;
    }
  }
}

/**
 * Lets a child go on that has said it is ready; its silence then says that its program runs. False when it has died before
 * it came to that.
 */
export function release(channel: ParentChannel): boolean {
  try {
    channel.goOn();
    const executes = channel.receive()?.type === 'executing';
    if (executes) channel.receive();
    return executes;
  } finally {
    channel[Symbol.dispose]();
  }
}
