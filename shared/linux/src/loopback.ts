import { O_CLOEXEC } from './constants.ts';
import { closeFd } from './descriptors.ts';
import { libc } from './libc.ts';
import { check } from './syscall-error.ts';

const cSocket = libc.func('int socket(int domain, int type, int protocol)');
const cIoctl = libc.func('ioctl', 'int', ['int', 'ulong', 'void *']);

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;
const ifreqBytes = 40;
const flagsAt = 16;

/** Brings `lo` of the calling thread's network namespace up; in a new namespace it is down. */
export function raiseLoopback(): void {
  const fd = check(cSocket(AF_INET, SOCK_DGRAM | O_CLOEXEC, 0), 'socket');
  try {
    const request = Buffer.alloc(ifreqBytes);
    request.write('lo');
    check(cIoctl(fd, SIOCGIFFLAGS, request), 'ioctl', 'SIOCGIFFLAGS lo');
    request.writeInt16LE(request.readInt16LE(flagsAt) | IFF_UP, flagsAt);
    check(cIoctl(fd, SIOCSIFFLAGS, request), 'ioctl', 'SIOCSIFFLAGS lo');
  } finally {
    closeFd(fd);
  }
}
