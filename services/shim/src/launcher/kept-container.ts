import type { LaunchReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import type { NamedFds, ShimTask } from './shim-task.ts';
import type { WatchedProcess } from './watched-process.ts';

const shortestPauseMs = 100;
const longestPauseMs = 5_000;
/** A shim that has served so long is no reason to wait before the next. */
const settledMs = 2_000;

/** What the launcher has of a container, so that it does not suffer when its shim dies. */
export class KeptContainer {
  readonly task: ShimTask;
  readonly init: WatchedProcess | undefined;
  /** Copies of the shim's descriptors: `terminal`, `stdin` and so on. */
  readonly descriptors = new Map<string, number>();
  /** The last one; it may have ended. */
  shim: WatchedProcess | undefined;
  reply: LaunchReply;
  /** Init is no child of its shim. */
  isAdopted = false;
  #servedSince: number = performance.now();
  #failures = 0;
  /** performance.now() of the next try. */
  #dueAt = Number.POSITIVE_INFINITY;

  constructor(task: ShimTask, { shim, init, reply }: Pick<KeptContainer, 'shim' | 'init' | 'reply'>) {
    this.task = { ...task, adopt: false, replaces: 0 };
    this.shim = shim;
    this.init = init;
    if (init !== undefined) init.staysOpen = true;
    this.reply = reply;
  }

  get isServed(): boolean {
    return this.shim !== undefined && !this.shim.hasEnded;
  }

  /** When the next shim is to be tried; infinite while one lives. */
  get dueAt(): number {
    return this.#dueAt;
  }

  /** Another shim serves. */
  serve(shim: WatchedProcess, reply: LaunchReply): void {
    this.shim = shim;
    this.reply = reply;
    this.#servedSince = performance.now();
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  /** Its shim is gone: the next is tried at once, or, when that happens again and again, after a pause that doubles. */
  orphan(): void {
    if (performance.now() - this.#servedSince > settledMs && this.#dueAt === Number.POSITIVE_INFINITY) {
      this.#failures = 0;
    }
    const pauseMs = this.#failures === 0 ? 0 : Math.min(shortestPauseMs * 2 ** (this.#failures - 1), longestPauseMs);
    this.#failures++;
    this.#dueAt = performance.now() + pauseMs;
  }

  /** For a new shim, which gets copies. */
  get fds(): NamedFds {
    const { init } = this;
    return { ...Object.fromEntries(this.descriptors), ...(init === undefined ? {} : { init: init.pidfd }) };
  }
}
