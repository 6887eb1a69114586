import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const cPidfdOpen = libc.func('int pidfd_open(int pid, unsigned int flags)');
const cPidfdSendSignal = libc.func('int pidfd_send_signal(int pidfd, int signal, void *info, unsigned int flags)');
const cPidfdGetFd = libc.func('int pidfd_getfd(int pidfd, int fd, unsigned int flags)');

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
