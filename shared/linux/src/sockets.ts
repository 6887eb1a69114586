import { O_CLOEXEC, O_NONBLOCK } from './constants.ts';
import { koffi, libc } from './libc.ts';
import { check, SyscallError } from './syscall-error.ts';

const cSocket = libc.func('int socket(int domain, int type, int protocol)');
const cSocketpair = libc.func('int socketpair(int domain, int type, int protocol, void *fds)');
const cBind = libc.func('int bind(int fd, void *address, unsigned int length)');
const cConnect = libc.func('int connect(int fd, void *address, unsigned int length)');
const cListen = libc.func('int listen(int fd, int backlog)');
const cAccept4 = libc.func('int accept4(int fd, void *address, void *length, int flags)');
const cSend = libc.func('long send(int fd, void *data, size_t length, int flags)');
const cRecv = libc.func('long recv(int fd, void *data, size_t length, int flags)');
const cSendmsg = libc.func('long sendmsg(int fd, void *message, int flags)');
const cRecvmsg = libc.func('long recvmsg(int fd, void *message, int flags)');
const cGetsockopt = libc.func('int getsockopt(int fd, int level, int name, void *value, void *length)');
const cSetsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, unsigned int length)');

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_SEQPACKET = 5;
const SOL_SOCKET = 1;
const SO_PASSCRED = 16;
const SO_PEERCRED = 17;
const SCM_RIGHTS = 1;
const SCM_CREDENTIALS = 2;
const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const EINTR = 4;
const EAGAIN = 11;
/** sun_path is 108 bytes; one for the NUL, and Node.js refuses 107. */
const longestPathBytes = 106;
const cmsgHeaderBytes = 16;
const msghdrBytes = 56;

/** An unconnected unix socket, of streams or of datagrams, close-on-exec. */
export function unixSocket({ nonBlocking = false, datagrams = false } = {}): number {
  const type = datagrams ? SOCK_DGRAM : SOCK_STREAM;
  return check(cSocket(AF_UNIX, type | O_CLOEXEC | (nonBlocking ? O_NONBLOCK : 0), 0), 'socket');
}

/** A unix datagram socket whose messages bring their sender's credentials (SO_PASSCRED), non-blocking, close-on-exec. */
export function unixDatagramSocket(): number {
  const fd = check(cSocket(AF_UNIX, SOCK_DGRAM | O_CLOEXEC | O_NONBLOCK, 0), 'socket');
  check(cSetsockopt(fd, SOL_SOCKET, SO_PASSCRED, Int32Array.of(1), 4), 'setsockopt', 'SO_PASSCRED');
  return fd;
}

/** socketpair(2) of unix sockets, of streams or of whole messages that end with the other side, close-on-exec. */
export function unixSocketPair({ packets = false } = {}): readonly [number, number] {
  const fds = new Int32Array(2);
  check(cSocketpair(AF_UNIX, (packets ? SOCK_SEQPACKET : SOCK_STREAM) | O_CLOEXEC, 0, fds), 'socketpair');
  return [fds[0]!, fds[1]!];
}

/** bind(2) to a path of at most 106 bytes. EADDRINUSE when the file is there. */
export function bindUnix(fd: number, path: string): void {
  const address = unixAddress(path);
  check(cBind(fd, address, address.length), 'bind', path);
}

/** connect(2). ECONNREFUSED when nobody listens, ENOENT when there is no file. */
export function connectUnix(fd: number, path: string): void {
  const address = unixAddress(path);
  check(cConnect(fd, address, address.length), 'connect', path);
}

function unixAddress(path: string): Buffer {
  const bytes = Buffer.from(path);
  if (bytes.length > longestPathBytes || bytes.length === 0 || bytes.includes(0)) {
    throw new RangeError(`socket path must have 1 to ${longestPathBytes} bytes and no NUL: ${path}`);
  }
  const address = Buffer.alloc(2 + bytes.length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  bytes.copy(address, 2);
  return address;
}

/** listen(2). */
export function listen(fd: number, backlog: number): void {
  check(cListen(fd, backlog), 'listen');
}

/** accept4(2), close-on-exec. `undefined` when a non-blocking socket has nobody waiting, or the one waiting has gone. */
export function accept4(fd: number, { nonBlocking = true } = {}): number | undefined {
  const flags = O_CLOEXEC | (nonBlocking ? O_NONBLOCK : 0);
  return transfer(() => cAccept4(fd, null, null, flags), 'accept4', [EAGAIN, 103 /* ECONNABORTED */]);
}

/** send(2) without SIGPIPE; may send less than all. `undefined` when a non-blocking socket takes nothing now. */
export function send(fd: number, data: Uint8Array): number | undefined {
  return transfer(() => cSend(fd, data, data.byteLength, MSG_NOSIGNAL), 'send', [EAGAIN]);
}

/** recv(2) into `buffer`; 0 at the end. `undefined` when a non-blocking socket has nothing now. */
export function recv(fd: number, buffer: Uint8Array): number | undefined {
  return transfer(() => cRecv(fd, buffer, buffer.byteLength, 0), 'recv', [EAGAIN]);
}

/** Sends bytes (at least one) and, with them, copies of descriptors: SCM_RIGHTS of unix(7). */
export function sendFds(fd: number, data: Uint8Array, fds: readonly number[]): number | undefined {
  const message = messageHeader(Buffer.from(data), Buffer.alloc(controlBytes(fds.length)));
  const { control } = message;
  control.writeBigUInt64LE(BigInt(cmsgHeaderBytes + fds.length * 4), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  fds.forEach((one, i) => {
    control.writeInt32LE(one, cmsgHeaderBytes + i * 4);
  });
  return transfer(() => cSendmsg(fd, message.header, MSG_NOSIGNAL), 'sendmsg', [EAGAIN]);
}

/** What recvFds received. */
export interface ReceivedFds {
  /** Bytes written into the buffer; 0 at the end. */
  readonly length: number;
  /** Close-on-exec; the caller's from now on. */
  readonly fds: readonly number[];
}

/** Receives bytes and at most `most` descriptors. `undefined` when a non-blocking socket has nothing now. */
export function recvFds(fd: number, buffer: Uint8Array, most = 16): ReceivedFds | undefined {
  const data = Buffer.allocUnsafeSlow(buffer.byteLength);
  const { header, control, iovec } = messageHeader(data, Buffer.alloc(controlBytes(most)));
  const length = transfer(() => cRecvmsg(fd, header, MSG_CMSG_CLOEXEC), 'recvmsg', [EAGAIN]);
  if (length === undefined) return undefined;
  buffer.set(data.subarray(0, length));
  const fds: number[] = [];
  const controlLength = Number(header.readBigUInt64LE(40));
  if (controlLength >= cmsgHeaderBytes && control.readInt32LE(12) === SCM_RIGHTS) {
    const end = Number(control.readBigUInt64LE(0));
    for (let at = cmsgHeaderBytes; at < end; at += 4) fds.push(control.readInt32LE(at));
  }
  if (header.readInt32LE(48) & MSG_CTRUNC) throw new RangeError(`more than ${most} descriptors were sent`);
  iovec.fill(0); // keeps the buffers that the header points to alive until here
  return { length, fds };
}

/** A datagram as recvDatagram received it. */
export interface ReceivedDatagram {
  readonly data: Buffer;
  /** Close-on-exec; the caller's from now on. */
  readonly fds: readonly number[];
  /** Who sent it, as the kernel says; absent on a socket without SO_PASSCRED. */
  readonly sender: PeerCredentials | undefined;
  /** More bytes or descriptors came than there was room for, and are lost. */
  readonly isTruncated: boolean;
}

/** Receives one datagram with at most `most` descriptors. `undefined` when there is none now. */
export function recvDatagram(fd: number, mostBytes = 4096, most = 253): ReceivedDatagram | undefined {
  const data = Buffer.allocUnsafeSlow(mostBytes);
  const { header, control, iovec } = messageHeader(data, Buffer.alloc(controlBytes(3) + controlBytes(most)));
  const length = transfer(() => cRecvmsg(fd, header, MSG_CMSG_CLOEXEC), 'recvmsg', [EAGAIN]);
  if (length === undefined) return undefined;
  const fds: number[] = [];
  let sender: PeerCredentials | undefined;
  const end = Number(header.readBigUInt64LE(40));
  for (let at = 0; at + cmsgHeaderBytes <= end; ) {
    const messageBytes = Number(control.readBigUInt64LE(at));
    if (messageBytes < cmsgHeaderBytes) break;
    const type = control.readInt32LE(at + 12);
    const body = at + cmsgHeaderBytes;
    if (type === SCM_RIGHTS) for (let i = body; i < at + messageBytes; i += 4) fds.push(control.readInt32LE(i));
    if (type === SCM_CREDENTIALS) {
      const [pid, uid, gid] = [0, 4, 8].map((offset) => control.readUInt32LE(body + offset));
      sender = { pid: pid!, uid: uid!, gid: gid! };
    }
    at += Math.ceil(messageBytes / 8) * 8;
  }
  const isTruncated = (header.readInt32LE(48) & (MSG_CTRUNC | MSG_TRUNC)) !== 0;
  iovec.fill(0); // keeps the buffers that the header points to alive until here
  return { data: data.subarray(0, length), fds, sender, isTruncated };
}

/** msghdr of recvmsg(2) by hand: the pointers in it are to memory of buffers, which does not move. */
function messageHeader(data: Buffer, control: Buffer): { header: Buffer; iovec: Buffer; control: Buffer } {
  const iovec = Buffer.alloc(16);
  iovec.writeBigUInt64LE(koffi.address(data), 0);
  iovec.writeBigUInt64LE(BigInt(data.byteLength), 8);
  const header = Buffer.alloc(msghdrBytes);
  header.writeBigUInt64LE(koffi.address(iovec), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(koffi.address(control), 32);
  header.writeBigUInt64LE(BigInt(control.byteLength), 40);
  return { header, iovec, control };
}

/** CMSG_SPACE of so many descriptors. */
const controlBytes = (count: number): number => cmsgHeaderBytes + Math.ceil((count * 4) / 8) * 8;

/** Who is at the other end. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** SO_PEERCRED of unix(7): who connected (or listened), as of then. */
export function getPeerCredentials(fd: number): PeerCredentials {
  const value = new Int32Array(3);
  check(cGetsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, Uint32Array.of(value.byteLength)), 'getsockopt', 'SO_PEERCRED');
  return { pid: value[0]!, uid: value[1]! >>> 0, gid: value[2]! >>> 0 };
}

function transfer(call: () => number | bigint, syscall: string, notNow: readonly number[]): number | undefined {
  for (;;) {
    const result = Number(call());
    if (result !== -1) return result;
    const errno = koffi.errno();
    if (notNow.includes(errno)) return undefined;
    if (errno !== EINTR) throw new SyscallError(syscall, errno);
  }
}
