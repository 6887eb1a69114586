import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const cPrctl = libc.func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']);
const cPrctlName = libc.func('prctl', 'int', ['int', 'void *', 'ulong', 'ulong', 'ulong']);

const PR_SET_PDEATHSIG = 1;
const PR_GET_DUMPABLE = 3;
const PR_SET_DUMPABLE = 4;
const PR_SET_KEEPCAPS = 8;
const PR_SET_NAME = 15;
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_SET_SECUREBITS = 28;
const PR_SET_CHILD_SUBREAPER = 36;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_GET_NO_NEW_PRIVS = 39;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_IS_SET = 1;
const PR_CAP_AMBIENT_RAISE = 2;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const nameBytes = 16;

function prctl(option: number, argument: number, second: number, what: string): number {
  return check(cPrctl(option, argument, second, 0, 0), 'prctl', what);
}

/** The name that ps and top show, at most 15 bytes. */
export function setProcessName(name: string): void {
  const bytes = Buffer.alloc(nameBytes);
  bytes.write(name, 0, nameBytes - 1);
  check(cPrctlName(PR_SET_NAME, bytes, 0, 0, 0), 'prctl', 'PR_SET_NAME');
}

/** Orphaned descendants become children of this process: PR_SET_CHILD_SUBREAPER. Not inherited by forks. */
export function setChildSubreaper(on: boolean): void {
  prctl(PR_SET_CHILD_SUBREAPER, on ? 1 : 0, 0, 'PR_SET_CHILD_SUBREAPER');
}

/** Whether others of the same user may trace this process and open its /proc files: PR_SET_DUMPABLE. */
export function setDumpable(on: boolean): void {
  prctl(PR_SET_DUMPABLE, on ? 1 : 0, 0, 'PR_SET_DUMPABLE');
}

/** PR_GET_DUMPABLE: 0, 1, or 2 (readable by root only). */
export function getDumpable(): number {
  return prctl(PR_GET_DUMPABLE, 0, 0, 'PR_GET_DUMPABLE');
}

/** Nothing executed from now on gains privileges: PR_SET_NO_NEW_PRIVS. There is no way back. */
export function setNoNewPrivileges(): void {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 'PR_SET_NO_NEW_PRIVS');
}

/** PR_GET_NO_NEW_PRIVS. */
export function getNoNewPrivileges(): boolean {
  return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 'PR_GET_NO_NEW_PRIVS') === 1;
}

/** The signal this process gets when the thread that made it ends; 0 for none. Ask getppid() afterwards: it may have ended. */
export function setParentDeathSignal(signal: number): void {
  prctl(PR_SET_PDEATHSIG, signal, 0, 'PR_SET_PDEATHSIG');
}

/** Keeps the permitted capabilities over the change to a non-root user: PR_SET_KEEPCAPS. Cleared by execve(2). */
export function setKeepCapabilities(on: boolean): void {
  prctl(PR_SET_KEEPCAPS, on ? 1 : 0, 0, 'PR_SET_KEEPCAPS');
}

/** PR_SET_SECUREBITS, capabilities(7). */
export function setSecureBits(bits: number): void {
  prctl(PR_SET_SECUREBITS, bits, 0, 'PR_SET_SECUREBITS');
}

/** Whether the bounding set holds a capability. EINVAL for a number that the kernel does not know. */
export function isInBoundingSet(capability: number): boolean {
  return prctl(PR_CAPBSET_READ, capability, 0, 'PR_CAPBSET_READ') === 1;
}

/** Drops a capability from the bounding set: PR_CAPBSET_DROP. */
export function dropFromBoundingSet(capability: number): void {
  prctl(PR_CAPBSET_DROP, capability, 0, 'PR_CAPBSET_DROP');
}

/** Whether the ambient set holds a capability. */
export function isAmbient(capability: number): boolean {
  return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 'PR_CAP_AMBIENT') === 1;
}

/** Raises a capability in the ambient set; it must be permitted and inheritable (EPERM). */
export function raiseAmbient(capability: number): void {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 'PR_CAP_AMBIENT');
}

/** Empties the ambient set. */
export function clearAmbient(): void {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 'PR_CAP_AMBIENT');
}
