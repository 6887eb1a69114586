import { O_CLOEXEC } from '../constants.ts';
import { closeFd } from '../descriptors.ts';
import { koffi, libc } from '../libc.ts';
import { check, SyscallError } from '../syscall-error.ts';
import {
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  headerBytes,
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  readText,
} from './message.ts';
import { insideNetworkNamespace } from './network-namespace.ts';

const cSocket = libc.func('int socket(int domain, int type, int protocol)');
const cSetsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, unsigned int length)');
const cSend = libc.func('long send(int fd, void *data, size_t length, int flags)');
const cRecv = libc.func('long recv(int fd, void *data, size_t length, int flags)');

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;
const MSG_TRUNC = 0x20;
const EINTR = 4;
/** The kernel fills at most 32 KiB of a dump at a time. */
const bufferBytes = 64 << 10;
const dumpTries = 5;

const buffer = Buffer.allocUnsafeSlow(bufferBytes);

/** Where a socket is opened. */
export interface NetlinkSocketOptions {
  /** Descriptor of a network namespace; the calling thread's own when absent. */
  readonly netnsFd?: number | undefined;
}

/**
 * A netlink(7) socket, used synchronously: the kernel answers within the call. A socket stays in the network namespace
 * in which it was opened, whatever its process does.
 */
export class NetlinkSocket implements Disposable {
  #fd: number | undefined;
  #sequence = 0;

  constructor({ netnsFd }: NetlinkSocketOptions = {}) {
    this.#fd = netnsFd === undefined ? openSocket() : insideNetworkNamespace(netnsFd, openSocket);
  }

  /**
   * Sends requests in one go; the kernel does them in order, each for itself. Throws the first failure as SyscallError
   * (its `syscall` says which request, its `path` the kernel's explanation) after all have been answered.
   */
  execute(...requests: readonly NetlinkRequest[]): void {
    const first = this.#sequence + 1;
    this.#sendAll(requests.map((request) => encodeMessage(request, ++this.#sequence, NLM_F_REQUEST | NLM_F_ACK)));
    let failure: Error | undefined;
    for (let waiting = requests.length; waiting > 0; ) {
      for (const message of this.#receive()) {
        const request = requests[message.sequence - first];
        if (message.type !== NLMSG_ERROR || request === undefined) continue; // Left over from a dump that was given up.
        waiting--;
        failure ??= failureOf(message, request.what);
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** Asks for one object. Throws what {@link execute} throws, `ENODEV` when it is not there. */
  get(request: NetlinkRequest): NetlinkMessage {
    const sequence = ++this.#sequence;
    this.#sendAll([encodeMessage(request, sequence, NLM_F_REQUEST)]);
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== sequence) continue;
        if (message.type !== NLMSG_ERROR) return message;
        throw failureOf(message, request.what) ?? new RangeError(`${request.what}: answered without an object`);
      }
    }
  }

  /** Asks for all objects; again when the kernel says that they changed meanwhile. */
  dump(request: NetlinkRequest): NetlinkMessage[] {
    for (let attempt = 1; ; attempt++) {
      const { messages, interrupted } = this.#dumpOnce(request);
      if (!interrupted) return messages;
      if (attempt === dumpTries) throw new SyscallError(request.what, EINTR, 'the objects change all the time');
    }
  }

  #dumpOnce(request: NetlinkRequest): { messages: NetlinkMessage[]; interrupted: boolean } {
    const sequence = ++this.#sequence;
    this.#sendAll([encodeMessage(request, sequence, NLM_F_REQUEST | NLM_F_DUMP)]);
    const messages: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== sequence) continue;
        interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
        if (message.type === NLMSG_DONE) return { messages, interrupted };
        if (message.type === NLMSG_ERROR) throw failureOf(message, request.what) ?? new RangeError(request.what);
        messages.push(message);
      }
    }
  }

  #sendAll(messages: readonly Buffer[]): void {
    const bytes = Buffer.concat(messages);
    const sent = check(cSend(this.#open(), bytes, bytes.length, 0), 'send', 'netlink');
    if (sent !== bytes.length) throw new RangeError(`netlink took ${sent} of ${bytes.length} bytes`);
  }

  #receive(): NetlinkMessage[] {
    for (;;) {
      const length = Number(cRecv(this.#open(), buffer, bufferBytes, MSG_TRUNC));
      if (length > bufferBytes) throw new RangeError(`netlink message of ${length} bytes`);
      if (length >= 0) return decodeMessages(Buffer.from(buffer.subarray(0, length)));
      const errno = koffi.errno();
      if (errno !== EINTR) throw new SyscallError('recv', errno, 'netlink');
    }
  }

  #open(): number {
    if (this.#fd === undefined) throw new RangeError('netlink socket is closed');
    return this.#fd;
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeFd(this.#fd);
    this.#fd = undefined;
  }
}

function openSocket(): number {
  const fd = check(cSocket(AF_NETLINK, SOCK_RAW | O_CLOEXEC, NETLINK_ROUTE), 'socket', 'netlink');
  const on = Int32Array.of(1);
  for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK]) {
    // Better error texts, shorter acknowledgements: not worth failing for.
    cSetsockopt(fd, SOL_NETLINK, option, on, on.byteLength);
  }
  return fd;
}

/** NLMSG_ERROR: a negative errno, the header of the request, then (with NLM_F_ACK_TLVS) attributes that explain it. */
function failureOf({ body, flags }: NetlinkMessage, what: string): SyscallError | undefined {
  const errno = -body.readInt32LE(0);
  if (errno === 0) return undefined;
  const explained = (flags & NLM_F_ACK_TLVS) !== 0;
  const text = explained ? readText(decodeAttributes(body, 4 + headerBytes), NLMSGERR_ATTR_MSG) : undefined;
  return new SyscallError(what, errno, text);
}
