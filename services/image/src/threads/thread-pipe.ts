import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { pipe2 } from '@flotilla/linux';

/** A pipe between the service and a thread: its own end a stream, which waits without a thread of Node's pool. */
export class ThreadPipe implements Disposable {
  readonly threadFd: number;
  readonly stream: Readable | Writable;
  #isOpen = true;

  /** What the service does with it. */
  constructor(use: 'read' | 'write') {
    const { readFd, writeFd } = pipe2();
    this.threadFd = use === 'read' ? writeFd : readFd;
    const fd = use === 'read' ? readFd : writeFd;
    this.stream = new Socket({ fd, readable: use === 'read', writable: use === 'write' });
    // Told where it is read or written.
    this.stream.on('error', () => {});
  }

  closeThreadEnd(): void {
    if (this.#isOpen) closeSync(this.threadFd);
    this.#isOpen = false;
  }

  /** Once the thread has ended. */
  [Symbol.dispose](): void {
    this.stream.destroy();
    this.closeThreadEnd();
  }
}
