import process from 'node:process';
import { closeFd, posixSpawn, unixSocketPair } from '@flotilla/linux';
import type { ForkCounts } from '@flotilla/linux/fork';
import { encodeOrder, type NamedFds, type ShimTask } from './shim-task.ts';
import type { TemplateProcess } from './template-process.ts';

/** How shims come to be: forked from a template, or, where that does not work, started as ordinary Node.js processes. */
export type ForkMode = 'fork' | 'spawn';

/** A shim that was started, a child of this process. */
export interface StartedShim {
  readonly pid: number;
  /** This end of a socket pair: its answer comes here, and descriptors with it. */
  readonly readyFd: number;
}

/** Starts shims. */
export interface ShimStarter {
  readonly mode: ForkMode;
  /** Why it is not `fork`; empty if it is. */
  readonly problem: string;
  /** Without it no shim can be started any more. */
  readonly templatePid: number | undefined;
  readonly counts: ForkCounts;
  /** Starts a shim, which gets copies of descriptors. */
  start(task: ShimTask, fds?: NamedFds): StartedShim;
}

/** Forks. */
export class ForkStarter implements ShimStarter {
  readonly mode = 'fork';
  readonly problem = '';
  readonly #template: TemplateProcess;

  constructor(template: TemplateProcess) {
    this.#template = template;
  }

  get templatePid(): number {
    return this.#template.pid;
  }

  get counts(): ForkCounts {
    return this.#template.counts;
  }

  start(task: ShimTask, fds: NamedFds = {}): StartedShim {
    return this.#template.forkShim(task, fds);
  }
}

/** Starts the shim's own program, by /proc/self/exe: the read-only copy of the binary that this process runs from. */
export class SpawnStarter implements ShimStarter {
  readonly mode = 'spawn';
  readonly problem: string;
  readonly templatePid = undefined;
  readonly counts: ForkCounts = { forks: 0, replaced: 0 };
  readonly #shimMain: string;

  constructor(shimMain: string, problem: string) {
    this.#shimMain = shimMain;
    this.problem = problem;
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
