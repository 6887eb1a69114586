import type { HostNetwork } from './host-network.ts';
import type { Notes, SandboxRecords } from './interfaces.ts';

/** The kernel takes a namespace apart in the background: 20 to 100 ms after the last process left it. */
const firstLookMs = 30;
const longestPauseMs = 500;
/** Something still runs in the namespace of a sandbox that is detached. */
const patienceMs = 2_000;

/** Links of detached sandboxes on their way out: their addresses are free once they are gone, and not before. */
export class ReleasedLinks implements Disposable {
  readonly #host: HostNetwork;
  readonly #records: SandboxRecords;
  readonly #notes: Notes;
  readonly #timers = new Map<string, NodeJS.Timeout>();

  constructor(host: HostNetwork, records: SandboxRecords, notes: Notes) {
    this.#host = host;
    this.#records = records;
    this.#notes = notes;
  }

  /** Looks after a link until it is gone. */
  watch(hostLink: string): void {
    if (!this.#timers.has(hostLink)) this.#lookIn(hostLink, firstLookMs, Date.now() + patienceMs);
  }

  /** How many are not gone yet. */
  get count(): number {
    return this.#timers.size;
  }

  #lookIn(hostLink: string, pauseMs: number, deadline: number): void {
    const timer = setTimeout(() => {
      try {
        if (this.#isGone(hostLink, deadline)) {
          this.#timers.delete(hostLink);
          this.#records.forgetReleased(hostLink);
          return;
        }
      } catch (err) {
        this.#notes.warn({ err, link: hostLink }, 'a link of a detached sandbox cannot be removed');
      }
      this.#lookIn(hostLink, Math.min(pauseMs * 2, longestPauseMs), deadline);
    }, pauseMs);
    this.#timers.set(hostLink, timer);
  }

  #isGone(hostLink: string, deadline: number): boolean {
    if (!this.#host.isLinkThere(hostLink)) return true;
    if (Date.now() < deadline) return false;
    this.#host.removeLink(hostLink);
    return true;
  }

  /** Stops looking; the records say what is left to do. */
  [Symbol.dispose](): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
