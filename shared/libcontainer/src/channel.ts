import { FlotillaError } from '@flotilla/errors';
import { closeFd, POLLIN, poll, recv, recvFds, send, sendFds, unixSocketPair } from '@flotilla/linux';
import { type ErrorMessage, fromErrorMessage } from './setup-error.ts';

// A socket pair between a process and the child that becomes a container's. Close-on-exec: its end is the sign that the
// user's program runs.

/** From the child. */
export type ChildMessage =
  /** It is in a new user namespace and waits for its mappings. */
  | { readonly type: 'mappings' }
  /** The next process of the chain. `pid` as its maker sees it, on the host. */
  | { readonly type: 'successor'; readonly pid: number }
  /** Everything is set up. A terminal's master end comes with it. */
  | { readonly type: 'ready'; readonly warnings: readonly string[] }
  /** Released: nothing is left to do but execve(2). */
  | { readonly type: 'executing' }
  | { readonly type: 'failed'; readonly error: ErrorMessage };

const timeoutMs = 30_000;
const newline = 10;

/** The two ends. */
export function openChannel(): { readonly parent: ParentChannel; readonly childFd: number } {
  const [parentFd, childFd] = unixSocketPair();
  return { parent: new ParentChannel(parentFd), childFd };
}

/** The parent's end. */
export class ParentChannel implements Disposable {
  #fd: number;
  #received = Buffer.alloc(0);
  readonly #fds: number[] = [];

  constructor(fd: number) {
    this.#fd = fd;
  }

  get fd(): number {
    return this.#fd;
  }

  /** The next message; `undefined` when the child has executed its program, or died. Throws the child's error. */
  receive(): Exclude<ChildMessage, { type: 'failed' }> | undefined {
    const line = this.#readLine();
    if (line === undefined) return undefined;
    const message = JSON.parse(line) as ChildMessage;
    if (message.type === 'failed') throw fromErrorMessage(message.error);
    return message;
  }

  #readLine(): string | undefined {
    const buffer = Buffer.allocUnsafe(65_536);
    for (;;) {
      const end = this.#received.indexOf(newline);
      if (end !== -1) {
        const line = this.#received.toString('utf8', 0, end);
        this.#received = this.#received.subarray(end + 1);
        return line;
      }
      if (poll([{ fd: this.#fd, events: POLLIN }], timeoutMs)[0] === 0) throw tooSlow();
      const got = recvFds(this.#fd, buffer, 4);
      if (got === undefined || got.length === 0) return undefined;
      this.#fds.push(...got.fds);
      this.#received = Buffer.concat([this.#received, buffer.subarray(0, got.length)]);
    }
  }

  /** A descriptor that came along; the caller's from now on. */
  takeFd(): number | undefined {
    return this.#fds.shift();
  }

  /** Lets the child go on. */
  goOn(): void {
    send(this.#fd, goSign);
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.splice(0)) closeFd(fd);
    if (this.#fd !== -1) closeFd(this.#fd);
    this.#fd = -1;
  }
}

const goSign = Buffer.from('g');

function tooSlow(): FlotillaError {
  const message = `the container's first process did not answer in ${timeoutMs} ms`;
  return new FlotillaError('deadline_exceeded', message, { reason: 'CONTAINER_SETUP_TIMEOUT' });
}

/** In the child: sends a message, and a descriptor with it. */
export function tell(fd: number, message: ChildMessage, sent?: number): void {
  const data = Buffer.from(`${JSON.stringify(message)}\n`);
  let at = sent === undefined ? 0 : (sendFds(fd, data, [sent]) ?? 0);
  while (at < data.length) at += send(fd, data.subarray(at)) ?? 0;
}

const answer = Buffer.allocUnsafeSlow(1);

/** In the child: waits for the parent's sign. False when the parent has gone. */
export function awaitSign(fd: number): boolean {
  return recv(fd, answer) === 1;
}
