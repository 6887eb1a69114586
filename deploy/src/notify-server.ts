import { rmSync } from 'node:fs';
import {
  bindUnix,
  closeFd,
  closeWatched,
  type ReadableWatch,
  recvDatagram,
  unixDatagramSocket,
  watchReadable,
} from '@flotilla/linux';

/** What a process says of itself: sd_notify(3). */
export interface Notice {
  /** Who says so, as the kernel has it. */
  readonly pid: number;
  readonly fields: ReadonlyMap<string, string>;
  /** The receiver's from now on. */
  readonly fds: readonly number[];
}

/** NOTIFY_SOCKET: hears what the processes say that are kept. Who may speak is the receiver's to decide, by `pid`. */
export class NotifyServer implements Disposable {
  readonly path: string;
  readonly fd: number;
  readonly #watch: ReadableWatch;
  readonly #onNotice: (notice: Notice) => void;

  /** `fd` is a socket that is there already, of an earlier image of this process. */
  constructor(path: string, onNotice: (notice: Notice) => void, fd?: number) {
    this.path = path;
    this.#onNotice = onNotice;
    this.fd = fd ?? openSocket(path);
    this.#watch = watchReadable(this.fd, () => this.drain());
  }

  /** Hears all that was said so far: to be called before a process that has ended is forgotten. */
  drain(): void {
    for (let got = recvDatagram(this.fd); got !== undefined; got = recvDatagram(this.fd)) {
      const { sender, fds, data, isTruncated } = got;
      if (sender === undefined || isTruncated) for (const fd of fds) closeFd(fd);
      else this.#onNotice({ pid: sender.pid, fields: parseFields(data.toString()), fds });
    }
  }

  [Symbol.dispose](): void {
    closeWatched(this.#watch, this.fd);
    rmSync(this.path, { force: true });
  }
}

function openSocket(path: string): number {
  rmSync(path, { force: true });
  const fd = unixDatagramSocket();
  bindUnix(fd, path); // in a folder that only its owner may enter
  return fd;
}

function parseFields(text: string): ReadonlyMap<string, string> {
  const pairs = text.split('\n').flatMap((line) => {
    const at = line.indexOf('=');
    return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : [];
  });
  return new Map(pairs);
}
