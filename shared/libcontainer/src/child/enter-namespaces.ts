import { closeSync, openSync, writeFileSync } from 'node:fs';
import {
  CLONE_FS,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  isErrno,
  raiseLoopback,
  setns,
  unshare,
} from '@flotilla/linux';
import type { NamespaceJoin, NamespacePlan } from '../plan/namespace-plan.ts';
import { step } from '../setup-error.ts';

/** How a process gets into its cgroups. */
export interface CgroupEntry {
  /** `tasks` files of v1 groups: moving the only thread costs 30 µs, where `cgroup.procs` takes 10 ms for a lock. */
  readonly tasks: readonly string[];
  /** `cgroup.procs` of the v2 group, when the process was not born into it. */
  readonly procs: string | undefined;
}

/** Moves the calling process, which has one thread that matters. */
export function joinCgroups({ tasks, procs }: CgroupEntry): void {
  for (const file of procs === undefined ? tasks : [...tasks, procs]) {
    step('join the cgroup', () => writeFileSync(file, '0'));
  }
}

/** Joins namespaces by path, but not a pid namespace, which only a child can be in. */
export function joinNamespaces(joins: readonly NamespaceJoin[]): void {
  const mine = joins.filter(({ flag }) => flag !== CLONE_NEWPID);
  // All are opened before the first is joined: a mount namespace changes what a path means.
  const opened = mine.map(({ type, path, flag }) => ({
    type,
    flag,
    fd: step(`open the ${type} namespace`, () => openSync(path, 'r')),
  }));
  if (mine.some(({ flag }) => flag === CLONE_NEWNS)) unshare(CLONE_FS); // setns(2): a thread that shares its root cannot move
  // The user namespace last, because the others may belong to ours; what it owns itself is tried again after it.
  const [user, others] = [
    opened.filter(({ flag }) => flag === CLONE_NEWUSER),
    opened.filter(({ flag }) => flag !== CLONE_NEWUSER),
  ];
  const later = others.filter(({ type, fd, flag }) => {
    try {
      setns(fd, flag);
      return false;
    } catch (error) {
      if (user.length > 0 && isErrno(error, 'EPERM')) return true;
      return step(`join the ${type} namespace`, () => {
        throw error;
      });
    }
  });
  for (const { type, fd, flag } of [...user, ...later]) step(`join the ${type} namespace`, () => setns(fd, flag));
  for (const { fd } of opened) closeSync(fd);
}

/** Makes new namespaces, but not a user namespace and not a pid namespace, which only a child can be in. */
export function createNamespaces({ create }: NamespacePlan): void {
  const flags = create & ~(CLONE_NEWPID | CLONE_NEWUSER);
  step('make namespaces', () => unshare(flags));
  if (flags & CLONE_NEWNET) step('bring up the loopback interface', raiseLoopback);
}
