import { koffi, libc } from './libc.ts';
import { check, SyscallError } from './syscall-error.ts';

const cPidfdOpen = libc.func('int pidfd_open(int pid, unsigned int flags)');
const cPidfdSendSignal = libc.func('int pidfd_send_signal(int pidfd, int signal, void *info, unsigned int flags)');
const cPidfdGetFd = libc.func('int pidfd_getfd(int pidfd, int fd, unsigned int flags)');
const cIoctl = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);

const ESRCH = 3;
const EINVAL = 22;
const ENOTTY = 25;
/** _IOWR(0xff, 11, struct pidfd_info) with the first, 64-byte version of the struct. */
const PIDFD_GET_INFO = 0xc040ff0b;
const PIDFD_INFO_EXIT = 8n;
const exitCodeOffset = 60;
const pidfdInfo = Buffer.alloc(64);

/** pidfd_open(2): a process by descriptor, close-on-exec, readable (poll) once it has exited. ESRCH when there is none. */
export function pidfdOpen(pid: number): number {
  return check(cPidfdOpen(pid, 0), 'pidfd_open', `pid ${pid}`);
}

/** pidfd_send_signal(2): reaches that process or nobody (ESRCH). Signal 0 only asks. */
export function pidfdSendSignal(pidfd: number, signal: number): void {
  check(cPidfdSendSignal(pidfd, signal, null, 0), 'pidfd_send_signal');
}

/** pidfd_getfd(2): a copy, close-on-exec, of another process's descriptor. EBADF when it has none of that number. */
export function pidfdGetFd(pidfd: number, fd: number): number {
  return check(cPidfdGetFd(pidfd, fd, 0), 'pidfd_getfd', `fd ${fd}`);
}

/** How a process ended whose parent may be another. */
export interface ProcessExit {
  /** 0 to 255; 128 + signal when a signal killed it. */
  readonly exitCode: number;
  /** The signal that killed it. */
  readonly signal: number | undefined;
}

/**
 * How a process ended, told by the kernel once its parent has reaped it (PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15),
 * for as long as a pidfd from before is open. `undefined` while it lives or is a zombie, and always on older kernels.
 */
export function pidfdExitInfo(pidfd: number): ProcessExit | undefined {
  pidfdInfo.fill(0);
  pidfdInfo.writeBigUInt64LE(PIDFD_INFO_EXIT, 0);
  if (cIoctl(pidfd, PIDFD_GET_INFO, pidfdInfo) === -1) {
    const errno = koffi.errno();
    // ESRCH: reaped, and this kernel keeps nothing; EINVAL and ENOTTY: it does not know the call.
    if (errno === ESRCH || errno === EINVAL || errno === ENOTTY) return undefined;
    throw new SyscallError('ioctl', errno, 'PIDFD_GET_INFO');
  }
  if ((pidfdInfo.readBigUInt64LE(0) & PIDFD_INFO_EXIT) === 0n) return undefined;
  // As wait(2) has it: the signal in the low 7 bits, the code above the eighth, which says that a core was written.
  const status = pidfdInfo.readInt32LE(exitCodeOffset);
  const signal = status & 0x7f;
  return signal === 0 ? { exitCode: (status >> 8) & 0xff, signal: undefined } : { exitCode: 128 + signal, signal };
}
