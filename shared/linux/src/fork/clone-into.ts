import { readdirSync } from 'node:fs';
import { CLONE_PARENT, SIGCHLD, SIGKILL } from '../constants.ts';
import { closeFd, pipe2, readFd, writeFd } from '../descriptors.ts';
import { koffi, libc } from '../libc.ts';
import { pidfdSendSignal } from '../pidfd.ts';
import { exitNow, waitPidfd } from '../process.ts';
import { check, isErrno } from '../syscall-error.ts';
import { countFork, countReplaced } from './counts.ts';
import { makeForkable, wasForkedWhole } from './memory-maps.ts';

const cClone3 = libc.func('syscall', 'long', ['long', 'void *', 'size_t']);

const SYS_clone3 = 435;
const CLONE_PIDFD = 0x1000n;
const CLONE_INTO_CGROUP = 0x200000000n;
const mostReplacements = 20;
const go = Buffer.from('y');
const answer = Buffer.allocUnsafeSlow(1);
const pidfdOut = new Int32Array(1);
/** struct clone_args. */
const args = new BigUint64Array(11);

/** What the child is born into. */
export interface CloneRequest {
  /** CLONE_NEW… and CLONE_PARENT. */
  readonly flags?: number;
  /** Open directory of a cgroup v2 group, Linux 5.7. Saves the 10 ms that moving a process costs. */
  readonly cgroupFd?: number;
}

/** A child, by number and by descriptor (close-on-exec). */
export interface ClonedChild {
  readonly pid: number;
  readonly pidfd: number;
}

/** Whether this process has one thread: what {@link cloneInto} asks for. */
export function isSingleThreaded(): boolean {
  return readdirSync('/proc/self/task').length === 1;
}

/**
 * clone3(2) of a Node.js with one thread, verified as fork() is, but by the parent, so that it works into every
 * namespace: `undefined` in the child. glibc knows nothing of it, hence the one thread: no lock can be in other hands.
 * A child that was replaced and is not ours to wait for (CLONE_PARENT) is left to its parent, a zombie.
 */
export function cloneInto({ flags = 0, cgroupFd }: CloneRequest): ClonedChild | undefined {
  for (let attempt = 0; attempt <= mostReplacements; attempt++) {
    const { readFd: goFd, writeFd: sayFd } = pipe2();
    makeForkable();
    args[0] = BigInt(flags) | CLONE_PIDFD | (cgroupFd === undefined ? 0n : CLONE_INTO_CGROUP);
    args[4] = flags & CLONE_PARENT ? 0n : BigInt(SIGCHLD);
    args[10] = BigInt(cgroupFd ?? 0);
    const pid = check(clone3(), 'clone3');
    if (pid === 0) {
      closeFd(sayFd);
      if (readFd(goFd, answer) !== 1) exitNow(1);
      closeFd(goFd);
      return undefined;
    }
    countFork();
    const child = { pid, pidfd: pidfdOut[0]! };
    closeFd(goFd);
    const whole = wasForkedWhole(pid);
    if (whole) writeFd(sayFd, go);
    closeFd(sayFd);
    if (whole) return child;
    discard(child.pidfd);
    countReplaced();
  }
  throw new Error(`clone3: ${mostReplacements} children in a row lacked memory of their parent`);
}

function clone3(): number | bigint {
  args[1] = koffi.address(pidfdOut);
  return cClone3(SYS_clone3, args, args.byteLength);
}

function discard(pidfd: number): void {
  try {
    pidfdSendSignal(pidfd, SIGKILL);
    waitPidfd(pidfd);
  } catch (error) {
    if (!isErrno(error, 'ESRCH', 'ECHILD')) throw error;
  } finally {
    closeFd(pidfd);
  }
}
