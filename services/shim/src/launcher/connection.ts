import { invalidField } from '@flotilla/errors';
import { closeFd, getPeerCredentials, POLLIN, POLLOUT, recv, SyscallError, send } from '@flotilla/linux';
import { LauncherReply, LauncherRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { encodeFrame, findFrame } from './frame.ts';

const longestRequestBytes = 64 << 10;
const chunk = Buffer.allocUnsafeSlow(4 << 10);
const nothing = Buffer.alloc(0);

/** One who asks: sends one request, gets one reply. Nothing here waits. */
export class Connection {
  readonly fd: number;
  #input: Buffer = nothing;
  #output: Buffer = nothing;
  #state: 'asking' | 'waiting' | 'answering' | 'over' = 'asking';

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Whether the other side is root or this process's own user. */
  isTrusted(): boolean {
    const { uid } = getPeerCredentials(this.fd);
    return uid === 0 || uid === process.getuid?.();
  }

  /** For poll(2). While the answer is not there, only POLLHUP is of interest, which comes unasked. */
  get events(): number {
    return { asking: POLLIN, waiting: 0, answering: POLLOUT, over: 0 }[this.#state];
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  /** To be called when poll(2) says so. The request, once it is whole. INVALID_FIELD when it is none. */
  onReady(): LauncherRequest | undefined {
    try {
      if (this.#state === 'asking') return this.#receive();
      if (this.#state === 'answering') this.#send();
      else this.#state = 'over'; // Hung up while waiting.
    } catch (error) {
      if (!(error instanceof SyscallError)) {
        throw invalidField('request', `a LauncherRequest of at most ${longestRequestBytes} bytes behind its length`);
      }
      this.#state = 'over'; // The other side has gone: ECONNRESET, EPIPE.
    }
    return undefined;
  }

  /** Answers. Whoever has gone is answered in vain. */
  reply(reply: LauncherReply): void {
    if (this.#state === 'over') return;
    this.#output = encodeFrame(LauncherReply.encode(reply).finish());
    this.#state = 'answering';
    this.onReady();
  }

  close(): void {
    this.#state = 'over';
    closeFd(this.fd);
  }

  #receive(): LauncherRequest | undefined {
    const length = recv(this.fd, chunk);
    if (length === undefined) return undefined;
    if (length === 0) {
      this.#state = 'over';
      return undefined;
    }
    this.#input = Buffer.concat([this.#input, chunk.subarray(0, length)]);
    const frame = findFrame(this.#input, longestRequestBytes);
    if (frame === undefined) return undefined;
    this.#state = 'waiting';
    return LauncherRequest.decode(frame);
  }

  #send(): void {
    const sent = send(this.fd, this.#output);
    if (sent === undefined) return;
    this.#output = this.#output.subarray(sent);
    if (this.#output.length === 0) this.#state = 'over';
  }
}
