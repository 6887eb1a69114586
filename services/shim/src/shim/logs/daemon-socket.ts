import { closeFd, connectUnix, isErrno, poll, send, unixSocket } from '@flotilla/linux';

/** A daemon that reads needs less to make room for a datagram; one that does not is asked again later. */
const patienceMs = 5;
const POLLOUT = 4;

/** A connection to a log daemon of this host, made when it is needed and again when the daemon has been restarted. */
export class DaemonSocket implements Disposable {
  readonly #path: string;
  readonly #type: string;
  #fd: number | undefined;
  #isStream = false;

  /** Of type `unixgram`, or `unix`: a stream where the daemon takes one, else datagrams. Nothing is opened yet. */
  constructor(path: string, type: string) {
    this.#path = path;
    this.#type = type;
  }

  /**
   * Sends a message, the whole of it. Throws EAGAIN when the daemon does not read, ENOENT or ECONNREFUSED when there is
   * none.
   */
  send(message: Uint8Array): void {
    const fd = this.#connect();
    try {
      if (this.#isStream) this.#sendAll(fd, message);
      else if (send(fd, message) === undefined) this.#sendLate(fd, message);
    } catch (error) {
      if (!isErrno(error, 'EAGAIN')) this.#close();
      throw error;
    }
  }

  /** A message on a stream ends with a newline. */
  get isStream(): boolean {
    this.#connect();
    return this.#isStream;
  }

  [Symbol.dispose](): void {
    this.#close();
  }

  #sendLate(fd: number, message: Uint8Array): void {
    waitUntilWritable(fd);
    if (send(fd, message) === undefined) throw busy(this.#path);
  }

  /** What was sent of a message must not be sent again behind it, so a message that is stuck breaks the connection. */
  #sendAll(fd: number, message: Uint8Array): void {
    for (let sent = 0; sent < message.length; ) {
      const taken = send(fd, message.subarray(sent));
      if (taken !== undefined) sent += taken;
      else if (!waitUntilWritable(fd)) {
        if (sent > 0) this.#close();
        throw busy(this.#path);
      }
    }
  }

  #connect(): number {
    if (this.#fd !== undefined) return this.#fd;
    if (this.#type === 'unix') {
      try {
        return this.#open(true);
      } catch (error) {
        if (!isErrno(error, 'EPROTOTYPE')) throw error;
      }
    }
    return this.#open(false);
  }

  #open(isStream: boolean): number {
    const fd = unixSocket({ nonBlocking: true, datagrams: !isStream });
    try {
      connectUnix(fd, this.#path);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    this.#isStream = isStream;
    this.#fd = fd;
    return fd;
  }

  #close(): void {
    if (this.#fd !== undefined) closeFd(this.#fd);
    this.#fd = undefined;
  }
}

function waitUntilWritable(fd: number): boolean {
  const [ready] = poll([{ fd, events: POLLOUT }], patienceMs);
  return ready !== undefined && ready !== 0;
}

function busy(path: string): Error {
  return Object.assign(new Error(`EAGAIN: the daemon does not read, send '${path}'`), {
    code: 'EAGAIN',
    errno: 11,
    syscall: 'send',
    path,
  });
}
