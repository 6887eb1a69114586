import type { ContainerCgroup } from '@flotilla/libcontainer';
import { closeWatched, type ReadableWatch, readFd, watchReadable } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';

/** The kernel notifies before it kills, and counts when it has killed. */
const looksAfterMs = [0, 20, 100, 500];

export interface OomWatchOptions {
  readonly cgroup: Pick<ContainerCgroup, 'oomKillCount' | 'openOomNotifier'>;
  /** Told how often the kernel has killed since the group was made: each time that it is more. */
  readonly onKill: (killCount: number) => void;
  readonly log: Logger;
}

/** Notices at once when the kernel kills a process of the container for want of memory. */
export class OomWatch implements Disposable {
  readonly #options: OomWatchOptions;
  readonly #timers = new Set<NodeJS.Timeout>();
  #notifier: { readonly fd: number; readonly watch: ReadableWatch } | undefined;
  #told = 0;

  constructor(options: OomWatchOptions) {
    this.#options = options;
  }

  /** Also tells what happened before. Without it kills are seen at the exit alone. */
  start(): void {
    const { cgroup, log } = this.#options;
    try {
      const fd = cgroup.openOomNotifier();
      if (fd !== undefined) this.#notifier = { fd, watch: watchReadable(fd, () => this.#notified(fd)) };
    } catch (error) {
      log.warn({ err: error }, 'out-of-memory kills cannot be watched');
    }
    this.look();
  }

  /** Compares the kernel's count with what was told. */
  look(): void {
    const killCount = this.#count();
    if (killCount <= this.#told) return;
    this.#told = killCount;
    this.#options.onKill(killCount);
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearTimeout(timer);
    if (this.#notifier !== undefined) closeWatched(this.#notifier.watch, this.#notifier.fd);
    this.#notifier = undefined;
  }

  #notified(fd: number): void {
    readFd(fd, Buffer.alloc(4096));
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const delayMs of looksAfterMs) this.#timers.add(setTimeout(() => this.look(), delayMs).unref());
  }

  #count(): number {
    try {
      return this.#options.cgroup.oomKillCount();
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the count of out-of-memory kills cannot be read');
      return 0;
    }
  }
}
