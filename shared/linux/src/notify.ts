import { O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { closeFd } from './descriptors.ts';
import { libc } from './libc.ts';
import { send, sendFds } from './sockets.ts';
import { check } from './syscall-error.ts';

const cSocket = libc.func('int socket(int domain, int type, int protocol)');
const cConnect = libc.func('int connect(int fd, void *address, unsigned int length)');

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
/** sun_path of unix(7). */
const longestAddressBytes = 108;

/** What sd_notify(3) sends: `READY`, `FDSTORE`, `FDNAME` and so on, by name. */
export type NotifyFields = Readonly<Record<string, string>>;

/** The way to the service manager that started this process, or to whoever stands for it: sd_notify(3). Never blocks. */
export class NotifySocket implements Disposable {
  /** Writable (poll) when the other side's queue has room. */
  readonly fd: number;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** `address` is the content of NOTIFY_SOCKET: a path, or `@` and an abstract name. ECONNREFUSED, ENOENT: nobody is there. */
  static open(address: string): NotifySocket {
    const bytes = encodeAddress(address);
    const fd = check(cSocket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC | O_NONBLOCK, 0), 'socket');
    try {
      check(cConnect(fd, bytes, bytes.length), 'connect', address);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    return new NotifySocket(fd);
  }

  /** Sends one datagram, with copies of descriptors if there are any. False when the other side's queue is full. */
  send(fields: NotifyFields, fds: readonly number[] = []): boolean {
    const lines = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
    const data = Buffer.from(lines.join('\n'));
    return (fds.length === 0 ? send(this.fd, data) : sendFds(this.fd, data, fds)) !== undefined;
  }

  [Symbol.dispose](): void {
    closeFd(this.fd);
  }
}

function encodeAddress(address: string): Buffer {
  const isAbstract = address.startsWith('@');
  const name = Buffer.from(isAbstract ? `\0${address.slice(1)}` : `${address}\0`);
  if (!(isAbstract || address.startsWith('/')) || name.length > longestAddressBytes || address.includes('\0')) {
    throw new RangeError(`NOTIFY_SOCKET must be an absolute path or @name of at most 107 bytes, not ${address}`);
  }
  const bytes = Buffer.alloc(2 + name.length);
  bytes.writeUInt16LE(AF_UNIX, 0);
  name.copy(bytes, 2);
  return bytes;
}
