/** open(2), pipe2(2), fcntl(2): those that node:fs does not name, or that callers need without it. */
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

/** poll(2). */
export const POLLIN = 0x1;
export const POLLOUT = 0x4;
export const POLLERR = 0x8;
export const POLLHUP = 0x10;

/** signal(7), the same numbers on x86_64 and aarch64. */
export const SIGHUP = 1;
export const SIGINT = 2;
export const SIGKILL = 9;
export const SIGPIPE = 13;
export const SIGTERM = 15;
export const SIGCHLD = 17;
export const SIGCONT = 18;
export const SIGSTOP = 19;
export const SIGWINCH = 28;

/** namespaces(7), clone(2). */
export const CLONE_NEWTIME = 0x80;
export const CLONE_FS = 0x200;
export const CLONE_PARENT = 0x8000;
export const CLONE_NEWNS = 0x20000;
export const CLONE_NEWCGROUP = 0x2000000;
export const CLONE_NEWUTS = 0x4000000;
export const CLONE_NEWIPC = 0x8000000;
export const CLONE_NEWUSER = 0x10000000;
export const CLONE_NEWPID = 0x20000000;
export const CLONE_NEWNET = 0x40000000;

/** A number that differs by machine; x86_64 and aarch64 are supported. */
export function byArchitecture(x64: number, arm64: number): number {
  return process.arch === 'arm64' ? arm64 : x64;
}
