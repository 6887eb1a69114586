import { readFileSync } from 'node:fs';
import { byArchitecture, SIGCHLD } from './constants.ts';
import { koffi, libc } from './libc.ts';
import { check, isErrno, SyscallError } from './syscall-error.ts';

const cWaitid = libc.func('int waitid(int type, unsigned int id, void *info, int options)');
const cKill = libc.func('int kill(int pid, int signal)');
const cSetns = libc.func('int setns(int fd, int type)');
const cUnshare = libc.func('int unshare(int flags)');
const cClone = libc.func('syscall', 'long', ['long', 'ulong', 'long', 'long', 'long', 'long']);
const cExecve = libc.func('int execve(const char *path, const char **argv, const char **envp)');
const cExecveat = libc.func(
  'int execveat(int dirfd, const char *path, const char **argv, const char **envp, int flags)',
);
const cExit = libc.func('void _exit(int code)');
const cGetpid = libc.func('int getpid()');
const cGetppid = libc.func('int getppid()');
const cSetsid = libc.func('int setsid()');
const cUmask = libc.func('unsigned int umask(unsigned int mask)');

const P_ALL = 0;
const P_PID = 1;
const P_PIDFD = 3;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x1000000;
const CLD_EXITED = 1;
const EINTR = 4;
const AT_EMPTY_PATH = 0x1000;
const SYS_clone = byArchitecture(56, 220);

/** How a child ended. */
export interface ChildExit {
  readonly pid: number;
  /** 0 to 255; 128 + signal when a signal killed it. */
  readonly exitCode: number;
  /** The signal that killed it. */
  readonly signal: number | undefined;
}

/** How to wait. */
export interface WaitOptions {
  /** Answers at once, `undefined` when no such child has ended. */
  readonly noHang?: boolean;
  /** Leaves the child a zombie, so that its pid stays its own. */
  readonly noReap?: boolean;
}

/** waitid(2) for one child, or any with pid -1. Without `noHang` it blocks the thread. ECHILD: there is no such child. */
export function waitpid(pid: number, options?: WaitOptions & { readonly noHang?: false }): ChildExit;
export function waitpid(pid: number, options?: WaitOptions): ChildExit | undefined;
export function waitpid(pid: number, options: WaitOptions = {}): ChildExit | undefined {
  return waitid(pid === -1 ? P_ALL : P_PID, pid === -1 ? 0 : pid, options);
}

/** waitid(2) for a child by its pidfd. */
export function waitPidfd(pidfd: number, options: WaitOptions = {}): ChildExit | undefined {
  return waitid(P_PIDFD, pidfd, options);
}

const siginfo = Buffer.alloc(128);

function waitid(type: number, id: number, { noHang = false, noReap = false }: WaitOptions): ChildExit | undefined {
  const options = WEXITED | (noHang ? WNOHANG : 0) | (noReap ? WNOWAIT : 0);
  siginfo.fill(0);
  while (cWaitid(type, id, siginfo, options) === -1) {
    const errno = koffi.errno();
    if (errno !== EINTR) throw new SyscallError('waitid', errno, type === P_ALL ? undefined : `pid ${id}`);
  }
  const pid = siginfo.readInt32LE(16);
  if (pid === 0) return undefined;
  const status = siginfo.readInt32LE(24);
  const exited = siginfo.readInt32LE(8) === CLD_EXITED;
  return { pid, exitCode: exited ? status : 128 + status, signal: exited ? undefined : status };
}

/** kill(2). For a process that is not a waited-for child of ours, pidfdSendSignal is right: pids are used again. */
export function kill(pid: number, signal: number): void {
  check(cKill(pid, signal), 'kill', `pid ${pid}`);
}

/** setns(2): the calling thread joins a namespace (descriptor of a namespace file, or of a pidfd with several types). */
export function setns(fd: number, type = 0): void {
  check(cSetns(fd, type), 'setns', `fd ${fd}`);
}

/** unshare(2), for the calling thread. */
export function unshare(flags: number): void {
  check(cUnshare(flags), 'unshare');
}

/**
 * clone(2) without a stack, as fork(2) with namespace flags: 0 in the child. Only from a process that is single-threaded
 * and whose memory may be forked (`fork.ts`), because glibc knows nothing of it. Make it forkable directly before.
 */
export function rawClone(flags: number, exitSignal = SIGCHLD): number {
  return check(cClone(SYS_clone, flags | exitSignal, 0, 0, 0, 0), 'clone');
}

/** execve(2). Returns only by throwing. `env` as `NAME=value`. */
export function execve(path: string, argv: readonly string[], env: readonly string[]): never {
  check(cExecve(path, [...argv, null], [...env, null]), 'execve', path);
  throw new Error('execve returned');
}

/** execveat(2) of an open file, as fexecve(3). Returns only by throwing. */
export function execveFd(fd: number, argv: readonly string[], env: readonly string[]): never {
  check(cExecveat(fd, '', [...argv, null], [...env, null], AT_EMPTY_PATH), 'execveat', argv[0]);
  throw new Error('execveat returned');
}

/** _exit(2). The only way out of a forked Node.js: process.exit waits for threads that are not there. */
export function exitNow(code: number): never {
  cExit(code);
  throw new Error('_exit returned');
}

/** getpid(2). Right in a fork, where `process.pid` may be the parent's. */
export const getpid = (): number => cGetpid();

/** getppid(2): 1, or the subreaper, when the parent has gone; 0 when it lives in another pid namespace. */
export const getppid = (): number => cGetppid();

/** setsid(2). EPERM for the leader of a process group. */
export function setsid(): number {
  return check(cSetsid(), 'setsid');
}

/** umask(2); the previous mask. */
export const umask = (mask: number): number => cUmask(mask);

/** From /proc/<pid>/stat, proc_pid_stat(5). */
export interface ProcessStat {
  readonly pid: number;
  /** `R`, `S`, `D`, `T`, `Z` … */
  readonly state: string;
  readonly parentPid: number;
  /** Clock ticks after boot: with the pid and the boot id it names a process once and for all. */
  readonly startTime: number;
  /** Clock ticks that it has worked, in user and system mode. */
  readonly cpuTicks: number;
}

/** What the kernel says of a process; `undefined` when there is none. A zombie is still one: look at `state`. */
export function findProcess(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
  // The command's name, in parentheses, may hold anything, parentheses and spaces too.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, parentPid, cpuTicks] = [fields[0]!, Number(fields[1]), Number(fields[11]) + Number(fields[12])];
  return { pid, state, parentPid, cpuTicks, startTime: Number(fields[19]) };
}

/** PF_FORKNOEXEC of the kernel: forked, but has not executed a program. */
const forkedOnly = 0x40;

/**
 * Whether a forked process, be it dead but not yet reaped, has executed a program since: field 9 of proc_pid_stat(5). False
 * for one that is gone.
 */
export function hasExecuted(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const flags = text.slice(text.lastIndexOf(')') + 2).split(' ')[6];
    return (Number(flags) & forkedOnly) === 0;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return false;
    throw error;
  }
}

/** Whether the process that had this pid and start time is still alive. */
export function isSameProcess(pid: number, startTime: number): boolean {
  const found = findProcess(pid);
  return found !== undefined && found.startTime === startTime && !'ZX'.includes(found.state);
}
