import { Socket } from 'node:net';

/** The writing end of a process's standard input. */
export class Input {
  readonly #socket: Socket;
  #open = true;

  /** `fd` becomes its own. */
  constructor(fd: number) {
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

  /** Resolves once the kernel has taken it all: a process that does not read makes the sender wait. */
  write(data: Uint8Array): Promise<void> {
    if (!this.#open) return Promise.resolve();
    return new Promise((resolve) => this.#socket.write(data, () => resolve()));
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
}
