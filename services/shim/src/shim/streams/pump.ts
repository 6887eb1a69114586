import { Socket } from 'node:net';
import { ReadStream } from 'node:tty';
import { getPipeSize, isErrno, readFd, setNonBlocking } from '@flotilla/linux';

/** The most a chunk has: flotilla.v1.OutputChunk. */
const chunkBytes = 64 * 1024;
/** A terminal holds less than this. */
const terminalBytes = 64 * 1024;

// One buffer for all reading ends of the process: each chunk is done with before the next is read. Untouched memory until
// there is output.
const buffer = Buffer.allocUnsafeSlow(chunkBytes);

export interface PumpOptions {
  /** Reading end of a pipe, or a terminal's master. Becomes the pump's own, and non-blocking. */
  readonly fd: number;
  readonly terminal: boolean;
  /** The chunk is valid during the call only. */
  readonly onChunk: (chunk: Uint8Array) => void;
  /** Once, when all writing ends are closed, or when {@link Pump.drainNow} found it empty. */
  readonly onEnd: () => void;
}

/** Reads what a process writes, as it comes. */
export class Pump {
  readonly #options: PumpOptions;
  readonly #socket: Socket;
  #ended = false;

  constructor(options: PumpOptions) {
    this.#options = options;
    const onread = { buffer, callback: (length: number) => this.#take(length) };
    // libuv makes pipes non-blocking itself, but not a terminal's master.
    setNonBlocking(options.fd, true);
    // net.Socket knows pipes by their descriptor, tty.ReadStream terminals; both are the same class underneath.
    this.#socket = options.terminal
      ? new ReadStream(options.fd, { onread } as ConstructorParameters<typeof Socket>[0])
      : new Socket({ fd: options.fd, readable: true, writable: false, onread });
    this.#socket.on('end', () => this.#end());
    this.#socket.on('error', () => this.#end()); // EIO: a terminal that nobody has open any more
    this.#socket.resume();
  }

  get fd(): number {
    return this.#options.fd;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Stops reading: the process blocks once its pipe is full. */
  pause(): void {
    if (!this.#ended) this.#socket.pause();
  }

  resume(): void {
    if (!this.#ended) this.#socket.resume();
  }

  /** Reads what is in the pipe now and ends, though others may still hold its writing end. */
  drainNow(): void {
    if (this.#ended) return;
    const { fd, terminal, onChunk } = this.#options;
    let left = terminal ? terminalBytes : getPipeSize(fd);
    try {
      while (left > 0) {
        const length = readFd(fd, buffer);
        if (length === undefined || length === 0) break;
        onChunk(buffer.subarray(0, length));
        left -= length;
      }
    } catch (error) {
      if (!isErrno(error, 'EIO')) throw error;
    } finally {
      this.#end();
    }
  }

  #take(length: number): boolean {
    if (!this.#ended) this.#options.onChunk(buffer.subarray(0, length));
    return true;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.destroy();
    this.#options.onEnd();
  }
}
