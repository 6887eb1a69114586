import process from 'node:process';
import { closeFd, type PollFd, posixSpawn, unixSocketPair } from '@flotilla/linux';
import type { ForkCounts } from '@flotilla/linux/fork';
import { encodeOrder, type NamedFds, type ShimTask } from './shim-task.ts';
import type { StartedShim } from './template-process.ts';
import type { Templates } from './templates.ts';

/** How shims come to be: forked from a template, or, where that does not work, started as ordinary Node.js processes. */
export type ForkMode = 'fork' | 'spawn';

/** Starts shims. */
export interface ShimStarter {
  readonly mode: ForkMode;
  /** Why it is not `fork`; empty if it is. */
  readonly problem: string;
  /** Without it no shim can be started any more. */
  readonly templatePid: number | undefined;
  readonly counts: ForkCounts;
  /** For poll(2). */
  readonly pollFds: readonly PollFd[];
  /** To be called when poll(2) says so; true when the template is another from now on. */
  advance(ready: ReadonlyMap<number, number>): boolean;
  /** Starts a shim, which gets copies of descriptors. */
  start(task: ShimTask, fds?: NamedFds): StartedShim;
}

/** Forks. */
export class ForkStarter implements ShimStarter {
  readonly mode = 'fork';
  readonly problem = '';
  readonly #templates: Templates;

  constructor(templates: Templates) {
    this.#templates = templates;
  }

  get templatePid(): number {
    return this.#templates.pid;
  }

  get counts(): ForkCounts {
    return this.#templates.counts;
  }

  get pollFds(): readonly PollFd[] {
    return this.#templates.pollFds;
  }

  advance(ready: ReadonlyMap<number, number>): boolean {
    return this.#templates.advance(ready);
  }

  start(task: ShimTask, fds: NamedFds = {}): StartedShim {
    return this.#templates.forkShim(task, fds);
  }
}

/** Starts the shim's own program, by /proc/self/exe: the read-only copy of the binary that this process runs from. */
export class SpawnStarter implements ShimStarter {
  readonly mode = 'spawn';
  readonly problem: string;
  readonly templatePid = undefined;
  readonly counts: ForkCounts = { forks: 0, replaced: 0 };
  readonly pollFds: readonly PollFd[] = [];
  readonly #shimMain: string;

  constructor(shimMain: string, problem: string) {
    this.#shimMain = shimMain;
    this.problem = problem;
  }

  advance(): false {
    return false;
  }

  start(task: ShimTask, fds: NamedFds = {}): StartedShim {
    const [readyFd, shimFd] = unixSocketPair();
    try {
      const order = encodeOrder({ task, fdNames: Object.keys(fds), launcherPid: process.pid });
      const pid = posixSpawn({
        path: '/proc/self/exe',
        argv: [process.execPath, this.#shimMain, order],
        env: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
        fds: [0, 1, 2, shimFd, ...Object.values(fds)],
        newSession: true,
      });
      return { pid, readyFd };
    } catch (error) {
      closeFd(readyFd);
      throw error;
    } finally {
      closeFd(shimFd);
    }
  }
}
