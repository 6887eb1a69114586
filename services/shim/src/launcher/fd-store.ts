import { statSync } from 'node:fs';
import { NotifySocket, POLLOUT, type PollFd } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';

const lookMs = 200;

interface Message {
  readonly fields: Readonly<Record<string, string>>;
  readonly fd?: number;
}

/**
 * What outlives this process: descriptors left with the service manager, systemd or the keeper, which gives them back to
 * the next launcher (sd_pid_notify_with_fds(3)). Without NOTIFY_SOCKET nobody keeps them.
 */
export class FdStore {
  readonly #address: string | undefined;
  readonly #log: Logger;
  /** All that is to be kept, by name: sent again to a manager that was away. */
  readonly #contents = new Map<string, number>();
  #queue: Message[] = [];
  #socket: NotifySocket | undefined;
  #isLost = false;
  /** Which socket it was that was connected to, and when (performance.now()) that was looked at last. */
  #identity = '';
  #lookedAt = 0;

  constructor(address: string | undefined, log: Logger) {
    this.#address = address === '' ? undefined : address;
    this.#log = log;
  }

  get size(): number {
    return this.#address === undefined ? 0 : this.#contents.size;
  }

  /** The manager has them already: they came from it. */
  restore(stored: ReadonlyMap<string, number>): void {
    for (const [name, fd] of stored) this.#contents.set(name, fd);
  }

  /** Leaves a copy; the descriptor stays open until {@link remove} of its name. */
  add(name: string, fd: number): void {
    this.#contents.set(name, fd);
    this.#send({ fields: { FDSTORE: '1', FDNAME: name, FDPOLL: '0' }, fd });
  }

  /** Those that are there of these; to be called before the descriptors are closed. */
  remove(...names: readonly string[]): void {
    for (const name of names) {
      if (!this.#contents.delete(name)) continue;
      this.#queue = this.#queue.filter(({ fields, fd }) => fd === undefined || fields.FDNAME !== name);
      this.#send({ fields: { FDSTOREREMOVE: '1', FDNAME: name } });
    }
  }

  /** Says something else: READY=1. */
  notify(fields: Readonly<Record<string, string>>): void {
    this.#send({ fields });
  }

  /** While the manager's queue is full. */
  get pollFds(): readonly PollFd[] {
    const { fd } = this.#socket ?? {};
    return fd === undefined || this.#queue.length === 0 ? [] : [{ fd, events: POLLOUT }];
  }

  /** Sends what had to wait; all there is to a manager that has taken the place of another, though there be nothing to say. */
  flush(): void {
    try {
      if (this.#queue.length > 0 || this.#isReplaced()) this.#connect();
      for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
        if (this.#socket?.send(first.fields, first.fd === undefined ? [] : [first.fd]) !== true) return;
        this.#queue.shift();
      }
    } catch (err) {
      if (!this.#isLost) this.#log.warn({ err }, 'the service manager cannot be reached: it keeps no descriptors');
      this.#isLost = true;
      this.#queue = [];
      this.#socket?.[Symbol.dispose]();
      this.#socket = undefined;
    }
  }

  #send(message: Message): void {
    if (this.#address === undefined) return;
    this.#queue.push(message);
    this.flush();
  }

  /**
   * Whether the manager is another one, or may be back. A datagram socket is not told that the other side is gone: what has
   * the address now is looked at.
   */
  #isReplaced(): boolean {
    const now = performance.now();
    if (this.#contents.size === 0 || now - this.#lookedAt < lookMs) return false;
    this.#lookedAt = now;
    if (this.#socket === undefined) return this.#isLost;
    if (identityOf(this.#address ?? '') === this.#identity) return false;
    this.#isLost = true;
    this.#socket[Symbol.dispose]();
    this.#socket = undefined;
    return true;
  }

  /** One that comes back after having been away gets everything. */
  #connect(): void {
    if (this.#socket !== undefined || this.#address === undefined) return;
    this.#socket = NotifySocket.open(this.#address);
    this.#identity = identityOf(this.#address);
    if (!this.#isLost) return;
    this.#isLost = false;
    const queued = new Set(this.#queue.map(({ fields }) => fields.FDNAME));
    for (const [name, fd] of this.#contents) {
      if (!queued.has(name)) this.#queue.push({ fields: { FDSTORE: '1', FDNAME: name, FDPOLL: '0' }, fd });
    }
  }
}

/** Inode numbers are given out again, so with the time. An abstract name has none, nor has what is not there. */
function identityOf(address: string): string {
  const stat = address.startsWith('/') ? statSync(address, { bigint: true, throwIfNoEntry: false }) : undefined;
  return stat === undefined ? '' : `${stat.ino} ${stat.ctimeNs}`;
}
