import { O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const cOpen = libc.func('open', 'int', ['str', 'int', 'int']);
const cIoctl = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);
const cIoctlNumber = libc.func('ioctl', 'int', ['int', 'ulong', 'long']);
const cTcgetattr = libc.func('int tcgetattr(int fd, void *termios)');
const cTcsetattr = libc.func('int tcsetattr(int fd, int when, void *termios)');
const cCfmakeraw = libc.func('void cfmakeraw(void *termios)');
const cIsatty = libc.func('int isatty(int fd)');

const O_RDWR = 2;
const O_NOCTTY = 0o400;
const TIOCSCTTY = 0x540e;
const TIOCGWINSZ = 0x5413;
const TIOCSWINSZ = 0x5414;
const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;
const TIOCGPTPEER = 0x5441;
const TCSANOW = 0;
/** struct termios of glibc has 60 bytes. */
const termiosBytes = 64;

/** Size of a terminal in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Opens a new pseudo-terminal's master end on a `ptmx` file (each devpts mount has its own) and unlocks it: pty(7). */
export function openTerminalMaster(ptmxPath = '/dev/ptmx', { nonBlocking = false } = {}): number {
  const flags = O_RDWR | O_NOCTTY | O_CLOEXEC | (nonBlocking ? O_NONBLOCK : 0);
  const masterFd = check(cOpen(ptmxPath, flags, 0), 'open', ptmxPath);
  unlockTerminal(masterFd);
  return masterFd;
}

/** TIOCSPTLCK: a new master's other end cannot be opened before. */
export function unlockTerminal(masterFd: number): void {
  check(cIoctl(masterFd, TIOCSPTLCK, new Int32Array(1)), 'ioctl', 'TIOCSPTLCK');
}

/** The terminal's own end, opened through the master and not by a path that somebody may have replaced: ioctl_tty(2). */
export function openTerminalPeer(masterFd: number): number {
  return check(cIoctlNumber(masterFd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), 'ioctl', 'TIOCGPTPEER');
}

/** n of /dev/pts/n, in the devpts that the master belongs to. */
export function getTerminalNumber(masterFd: number): number {
  const number = new Uint32Array(1);
  check(cIoctl(masterFd, TIOCGPTN, number), 'ioctl', 'TIOCGPTN');
  return number[0]!;
}

/** TIOCGWINSZ. ENOTTY when it is no terminal. */
export function getTerminalSize(fd: number): TerminalSize {
  const size = new Uint16Array(4);
  check(cIoctl(fd, TIOCGWINSZ, size), 'ioctl', 'TIOCGWINSZ');
  return { columns: size[1]!, rows: size[0]! };
}

/** TIOCSWINSZ: the foreground process group gets SIGWINCH. */
export function setTerminalSize(fd: number, { columns, rows }: TerminalSize): void {
  check(cIoctl(fd, TIOCSWINSZ, Uint16Array.of(rows, columns, 0, 0)), 'ioctl', 'TIOCSWINSZ');
}

/** TIOCSCTTY: makes it the controlling terminal of the calling session leader, which has none. */
export function setControllingTerminal(fd: number): void {
  check(cIoctlNumber(fd, TIOCSCTTY, 0), 'ioctl', 'TIOCSCTTY');
}

/** isatty(3). */
export const isTerminal = (fd: number): boolean => cIsatty(fd) === 1;

/** Settings of a terminal, opaque: for setTerminalMode. */
export type TerminalMode = Uint8Array & { readonly terminalMode?: never };

/** tcgetattr(3). ENOTTY when it is no terminal. */
export function getTerminalMode(fd: number): TerminalMode {
  const mode = Buffer.alloc(termiosBytes);
  check(cTcgetattr(fd, mode), 'tcgetattr');
  return mode;
}

/** tcsetattr(3), at once. */
export function setTerminalMode(fd: number, mode: TerminalMode): void {
  check(cTcsetattr(fd, TCSANOW, mode), 'tcsetattr');
}

/** Raw mode (cfmakeraw(3)): every byte passes as it is. Gives back the mode to restore with setTerminalMode. */
export function setRawMode(fd: number): TerminalMode {
  const before = getTerminalMode(fd);
  const raw = Buffer.from(before);
  cCfmakeraw(raw);
  setTerminalMode(fd, raw);
  return before;
}
