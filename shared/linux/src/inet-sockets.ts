import { O_CLOEXEC } from './constants.ts';
import { closeFd } from './descriptors.ts';
import { koffi, libc } from './libc.ts';
import { check, errnoName, SyscallError } from './syscall-error.ts';

const cSocket = libc.func('int socket(int domain, int type, int protocol)');
const cBind = libc.func('int bind(int fd, void *address, unsigned int length)');
const cListen = libc.func('int listen(int fd, int backlog)');
const cGetsockname = libc.func('int getsockname(int fd, void *address, void *length)');
const cSetsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, unsigned int length)');

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const sockaddrBytes = 16;

/** A port that is taken, and the socket that has it. */
export interface HeldPort {
  readonly fd: number;
  readonly port: number;
}

/** What to take: `address` as the four bytes of an IPv4 address; port 0 takes a free one. */
export interface PortToHold {
  readonly protocol: 'tcp' | 'udp';
  readonly address: Uint8Array;
  readonly port: number;
}

/**
 * Binds a socket, close-on-exec, so that nobody else gets the port; nothing is ever received on it. EADDRINUSE,
 * EADDRNOTAVAIL (the address is none of this host's), EACCES.
 */
export function holdPort({ protocol, address, port }: PortToHold): HeldPort {
  const plain = tryBind(protocol, address, port, false);
  if (typeof plain !== 'number') return plain;
  // Connections that ended a moment ago block a TCP port for a while, but not for one who says that he does not mind.
  // He must listen then: otherwise another who does not mind gets the port as well.
  const patient =
    protocol === 'tcp' && errnoName(plain) === 'EADDRINUSE' ? tryBind(protocol, address, port, true) : plain;
  if (typeof patient !== 'number') return patient;
  throw new SyscallError('bind', patient, `${[...address].join('.')}:${port}/${protocol}`);
}

/** The held port, or the errno of a failed bind. */
function tryBind(protocol: 'tcp' | 'udp', address: Uint8Array, port: number, reuse: boolean): HeldPort | number {
  const type = protocol === 'tcp' ? SOCK_STREAM : SOCK_DGRAM;
  const fd = check(cSocket(AF_INET, type | O_CLOEXEC, 0), 'socket');
  const name = Buffer.alloc(sockaddrBytes);
  name.writeUInt16LE(AF_INET, 0);
  name.writeUInt16BE(port, 2);
  name.set(address, 4);
  try {
    const on = Int32Array.of(1);
    if (reuse) check(cSetsockopt(fd, SOL_SOCKET, SO_REUSEADDR, on, on.byteLength), 'setsockopt', 'SO_REUSEADDR');
    if (cBind(fd, name, sockaddrBytes) === -1 || (reuse && cListen(fd, 1) === -1)) {
      const errno = koffi.errno();
      closeFd(fd);
      return errno;
    }
    check(cGetsockname(fd, name, Uint32Array.of(sockaddrBytes)), 'getsockname');
    return { fd, port: name.readUInt16BE(2) };
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}
