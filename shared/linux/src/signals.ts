import { O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { readFd } from './descriptors.ts';
import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const cSigprocmask = libc.func('int sigprocmask(int how, void *set, void *old)');
const cSignalfd = libc.func('int signalfd(int fd, void *set, int flags)');
const cSignal = libc.func('intptr_t signal(int signal, intptr_t handler)');

const SIG_BLOCK = 0;
const SIG_UNBLOCK = 1;
const SIG_SETMASK = 2;
const SIG_DFL = 0;
const SIG_IGN = 1;
const sigsetBytes = 128;
const signalfdSiginfoBytes = 128;
const lastSignal = 64;

/** Blocks these signals in the calling thread, as a signalfd(2) needs it. */
export function blockSignals(signals: readonly number[]): void {
  check(cSigprocmask(SIG_BLOCK, signalSet(signals), null), 'sigprocmask');
}

/** Undoes {@link blockSignals}. */
export function unblockSignals(signals: readonly number[]): void {
  check(cSigprocmask(SIG_UNBLOCK, signalSet(signals), null), 'sigprocmask');
}

/** Blocks exactly these signals. The mask survives fork(2) and execve(2): clear it for a program of somebody else. */
export function setSignalMask(signals: readonly number[]): void {
  check(cSigprocmask(SIG_SETMASK, signalSet(signals), null), 'sigprocmask');
}

/**
 * Gives every signal its default action and unblocks all. Node.js ignores SIGPIPE, and what is ignored stays so over
 * execve(2). In a process that is about to exec; libuv's handlers are gone afterwards.
 */
export function resetSignals(): void {
  for (let signal = 1; signal <= lastSignal; signal++) cSignal(signal, SIG_DFL); // EINVAL for KILL, STOP and glibc's own
  setSignalMask([]);
}

/** Ignores a signal: signal(2) with SIG_IGN. */
export function ignoreSignal(signal: number): void {
  check(cSignal(signal, SIG_IGN), 'signal');
}

/** signalfd(2), close-on-exec and non-blocking. Block the signals first. */
export function signalfd(signals: readonly number[]): number {
  return check(cSignalfd(-1, signalSet(signals), O_CLOEXEC | O_NONBLOCK), 'signalfd');
}

const siginfos = Buffer.allocUnsafeSlow(8 * signalfdSiginfoBytes);

/** Takes the signals that wait in a signalfd: numbers, each once however often it was sent. */
export function readSignalfd(fd: number): ReadonlySet<number> {
  const signals = new Set<number>();
  for (;;) {
    const length = readFd(fd, siginfos);
    if (length === undefined) return signals;
    for (let at = 0; at < length; at += signalfdSiginfoBytes) signals.add(siginfos.readUInt32LE(at));
  }
}

function signalSet(signals: readonly number[]): Buffer {
  const set = Buffer.alloc(sigsetBytes);
  for (const signal of signals) set[(signal - 1) >> 3]! |= 1 << ((signal - 1) & 7);
  return set;
}
