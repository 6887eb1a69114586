import { closeSync, openSync } from 'node:fs';
import {
  CLONE_NEWPID,
  closeAllBut,
  closeFd,
  isErrno,
  pidfdOpen,
  pidfdSendSignal,
  SIGKILL,
  setns,
  unshare,
  waitPidfd,
  waitpid,
} from '@flotilla/linux';
import { cloneInto, fork, isSingleThreaded, wakeDescriptors } from '@flotilla/linux/fork';
import { runWork, type Work } from '../child/run-work.ts';
import { spawnStage } from './spawn-stage.ts';
import type { Child, PidNamespace, Starter, StartRequest } from './start-request.ts';

/** Makes the child in one of the two ways. */
export function start(starter: Starter, request: StartRequest): Child {
  if (starter === 'spawn') return intoPidNamespace(request.pidNamespace, () => withPidfd(spawnStage(request)));
  return isSingleThreaded() ? startByClone(request) : startByFork(request);
}

/** The fast way: born into its groups. Only while this process has one thread. */
function startByClone({ work, channelFd, fds, pidNamespace, cgroupFd }: StartRequest): Child {
  const begin = work(cgroupFd !== undefined);
  const flags = pidNamespace.kind === 'new' ? CLONE_NEWPID : 0;
  const request = cgroupFd === undefined ? { flags } : { flags, cgroupFd };
  if (pidNamespace.kind !== 'joined') return cloneInto(request) ?? runForked(begin, channelFd, fds);
  return intoPidNamespace(pidNamespace, () => cloneInto(request) ?? runForked(begin, channelFd, fds));
}

const mostAttempts = 5;

/**
 * glibc's fork, which knows what other threads hold. A replaced child takes a new pid namespace with it (ENOMEM from
 * then on), so a new one is made for the next attempt.
 */
function startByFork({ work, channelFd, fds, pidNamespace }: StartRequest): Child {
  const begin = work(false);
  for (let attempt = 1; ; attempt++) {
    try {
      return intoPidNamespace(pidNamespace, () => {
        const pid = fork();
        return pid === 0 ? runForked(begin, channelFd, fds) : withPidfd(pid);
      });
    } catch (error) {
      if (!isErrno(error, 'ENOMEM') || attempt === mostAttempts) throw error;
    }
  }
}

/** Without the parent's descriptors: with a copy of its end of the channel a child would not notice that it has gone. */
function runForked(work: Work, channelFd: number, fds: readonly number[]): never {
  closeAllBut([channelFd, ...fds, ...wakeDescriptors()]);
  return runWork(work, channelFd);
}

/** Children made by `work` are in the namespace, this process stays where it is: pid_namespaces(7). */
function intoPidNamespace<T>(namespace: PidNamespace, work: () => T): T {
  if (namespace.kind === 'same') return work();
  const ownFd = openSync('/proc/self/ns/pid', 'r');
  try {
    if (namespace.kind === 'new') unshare(CLONE_NEWPID);
    else setns(namespace.fd, CLONE_NEWPID);
    return work();
  } finally {
    setns(ownFd, CLONE_NEWPID);
    closeSync(ownFd);
  }
}

function withPidfd(pid: number): Child {
  try {
    return { pid, pidfd: pidfdOpen(pid) };
  } catch (error) {
    waitpid(pid);
    throw error;
  }
}

/** Ends a child whose set-up failed, and reaps it. */
export function discard({ pidfd }: Child): void {
  try {
    pidfdSendSignal(pidfd, SIGKILL);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
  try {
    waitPidfd(pidfd);
  } catch (error) {
    if (!isErrno(error, 'ECHILD')) throw error; // reaped by somebody else
  } finally {
    closeFd(pidfd);
  }
}
