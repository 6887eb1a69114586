import { readdirSync } from 'node:fs';
import process from 'node:process';
import {
  type ChildExit,
  findProcess,
  isErrno,
  POLLIN,
  type PollFd,
  pidfdExitInfo,
  pidfdOpen,
  waitpid,
} from '@flotilla/linux';
import { WatchedProcess } from './watched-process.ts';

/** How long the parent of a stranger may take to reap it; kernels that tell nothing (before 6.15) are waited for as long. */
const patienceMs = 500;
const lookMs = 20;

/**
 * The processes whose ends matter: children, and strangers, whose parent is somebody else (shims of a launcher that was
 * killed). Seen through pidfds and not through SIGCHLD: threads that Node.js has besides JavaScript's do not block it, and
 * the kernel gives a signal to any thread that takes it.
 */
export class Processes {
  readonly #children = new Map<number, WatchedProcess>();
  /** With the time (performance.now) at which each was seen dead. */
  readonly #strangers = new Map<WatchedProcess, number | undefined>();
  /** Children that nobody told of. */
  readonly #strays = new Set<number>();
  /** Reaped in this turn, and nobody's yet. */
  #unclaimed: readonly ChildExit[] = [];
  readonly #onStrayEnd: (exit: ChildExit) => void;

  /** `onStrayEnd` is called before a child is reaped that nobody told of. */
  constructor(onStrayEnd: (exit: ChildExit) => void) {
    this.#onStrayEnd = onStrayEnd;
  }

  /** For poll(2). */
  get pollFds(): readonly PollFd[] {
    const strangers = [...this.#strangers].map(([{ pidfd }, deadSince]) => ({
      fd: pidfd,
      events: deadSince === undefined ? POLLIN : 0, // POLLHUP comes unasked once it has been reaped.
    }));
    return [...[...this.#children.values()].map(({ pidfd }) => ({ fd: pidfd, events: POLLIN })), ...strangers];
  }

  /** In how many milliseconds {@link collect} wants to look again, whatever poll(2) says. */
  get dueInMs(): number {
    return [...this.#strangers.values()].some((since) => since !== undefined) ? lookMs : Number.POSITIVE_INFINITY;
  }

  /** A child that was just started. */
  addChild(pid: number): WatchedProcess {
    const child = new WatchedProcess(pid, pidfdOpen(pid));
    this.#children.set(pid, child);
    return child;
  }

  addStranger(stranger: WatchedProcess): void {
    this.#strangers.set(stranger, undefined);
  }

  /** Watches a process whose parent has died: it may be a child now, or have ended already. */
  follow(orphan: WatchedProcess): void {
    if (orphan.hasEnded || this.#children.get(orphan.pid) === orphan || this.#strangers.has(orphan)) return;
    const reaped = this.#unclaimed.find(({ pid }) => pid === orphan.pid);
    const exit = pidfdExitInfo(orphan.pidfd) ?? (orphan.isDead() ? reaped : undefined);
    if (exit !== undefined) orphan.end(exit);
    else if (findProcess(orphan.pid)?.parentPid === process.pid) this.#adopt(orphan);
    else this.addStranger(orphan);
  }

  /** Not watched any more. */
  forget(watched: WatchedProcess): void {
    this.#strangers.delete(watched);
    if (this.#children.get(watched.pid) === watched) this.#children.delete(watched.pid);
    watched.close();
  }

  /** Finds children that nobody told of: execs of a shim that has died. Looks at all processes, so not often. */
  adoptOrphans(): void {
    for (const name of readdirSync('/proc')) {
      const pid = Number(name);
      if (!Number.isInteger(pid) || this.#children.has(pid)) continue;
      if (findProcess(pid)?.parentPid !== process.pid) continue;
      this.addChild(pid); // At the worst a zombie: reaped here alone.
      this.#strays.add(pid);
    }
  }

  /** Reaps children and looks at strangers; answers those that have ended. `ready`: what poll(2) said. */
  collect(ready: ReadonlyMap<number, number>): readonly WatchedProcess[] {
    const ended: WatchedProcess[] = [];
    this.#unclaimed = this.#reapAll().filter((exit) => {
      const child = this.#children.get(exit.pid);
      if (child === undefined) return true;
      this.#children.delete(exit.pid);
      child.end(exit);
      ended.push(child);
      return false;
    });
    for (const [stranger, deadSince] of this.#strangers) {
      if (deadSince === undefined && !(ready.has(stranger.pidfd) && stranger.isDead())) continue;
      const since = deadSince ?? performance.now();
      const exit = pidfdExitInfo(stranger.pidfd);
      if (exit === undefined && performance.now() - since < patienceMs) {
        this.#strangers.set(stranger, since);
        continue;
      }
      this.#strangers.delete(stranger);
      stranger.end(exit);
      ended.push(stranger);
    }
    return ended;
  }

  /** One that was adopted in the same turn by number alone makes way. */
  #adopt(orphan: WatchedProcess): void {
    this.#children.get(orphan.pid)?.close();
    this.#strays.delete(orphan.pid);
    this.#children.set(orphan.pid, orphan);
  }

  #reapAll(): ChildExit[] {
    const exits: ChildExit[] = [];
    for (let exit = findZombie(); exit !== undefined; exit = findZombie()) {
      if (this.#strays.delete(exit.pid) || !this.#children.has(exit.pid)) this.#onStrayEnd(exit);
      waitpid(exit.pid, { noHang: true });
      exits.push(exit);
    }
    return exits;
  }
}

/** A child that has ended; it stays a zombie. */
function findZombie(): ChildExit | undefined {
  try {
    return waitpid(-1, { noHang: true, noReap: true });
  } catch (error) {
    if (isErrno(error, 'ECHILD')) return undefined;
    throw error;
  }
}
