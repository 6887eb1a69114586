import { Socket } from 'node:net';
import { duplicateFd } from '@flotilla/linux';

/** What node:net has of a libuv stream, and shows nobody: the bytes that wait in it, exact after each write(2). */
interface StreamHandle {
  readonly writeQueueSize: number;
}

/** The writing end of a process's standard input. */
export class Input {
  readonly #fd: number;
  readonly #socket: Socket;
  #open = true;
  #stopped = false;
  #last: Promise<unknown> = Promise.resolve();
  #underWay: { readonly length: number; readonly resolve: (taken: number) => void } | undefined;

  /** `fd` becomes its own. */
  constructor(fd: number) {
    this.#fd = fd;
    this.#socket = new Socket({ fd, readable: false, writable: true });
    // EPIPE: the process has closed its end, as it may.
    this.#socket.on('error', () => {
      this.#open = false;
    });
  }

  /** False once the descriptor is closed, or is about to be. */
  get isOpen(): boolean {
    return this.#open;
  }

  /**
   * Resolves once the kernel has taken it all, with how many bytes that are: a process that does not read makes the sender
   * wait. Fewer only after {@link stop}. What nobody can read counts as taken.
   */
  write(data: Uint8Array): Promise<number> {
    const written = this.#last.then(() => this.#write(data));
    this.#last = written;
    return written;
  }

  /**
   * From now on no byte is written: the writes that wait resolve with what was taken of them. Returns a descriptor of the same
   * open file, for whoever goes on; `undefined` when there is none any more.
   */
  stop(): number | undefined {
    if (!this.#open || this.#stopped) return undefined;
    this.#stopped = true;
    const fd = duplicateFd(this.#fd);
    const { _handle: handle } = this.#socket as unknown as { readonly _handle: StreamHandle | null };
    const left = handle?.writeQueueSize ?? 0;
    this.#socket.destroy();
    this.#underWay?.resolve(this.#underWay.length - left);
    return fd;
  }

  /** End of file, after what was written before. */
  close(): void {
    this.#open = false;
    this.#socket.destroySoon();
  }

  /** The process is gone. */
  destroy(): void {
    this.#open = false;
    this.#socket.destroy();
  }

  #write(data: Uint8Array): Promise<number> {
    if (this.#stopped) return Promise.resolve(0);
    if (!this.#open) return Promise.resolve(data.length);
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#underWay = { length: data.length, resolve };
    this.#socket.write(data, () => {
      if (!this.#stopped) this.#underWay = undefined;
      resolve(data.length);
    });
    return promise;
  }
}
