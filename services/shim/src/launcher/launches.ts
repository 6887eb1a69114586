import { FlotillaError } from '@flotilla/errors';
import { POLLIN, type PollFd } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { LaunchReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import type { Connection } from './connection.ts';
import { Launch, type ShimAnswer } from './launch.ts';
import type { Processes } from './processes.ts';
import { toErrorReply } from './replies.ts';
import type { ShimStarter } from './shim-starter.ts';
import type { NamedFds, ShimTask } from './shim-task.ts';
import type { WatchedProcess } from './watched-process.ts';

/** Who wants to know what becomes of launches, before those who wait are answered. */
export interface LaunchListener {
  /** The shim serves. The descriptors are the listener's. */
  made(launch: Launch, reply: LaunchReply, kept: ReadonlyMap<string, number>): void;
  failed(launch: Launch): void;
}

export interface LaunchesOptions {
  readonly starter: ShimStarter;
  readonly processes: Processes;
  readonly listener: LaunchListener;
  readonly log: Logger;
  /** How long a shim may take to make or adopt its container. */
  readonly timeoutMs: number;
}

interface Failure {
  readonly reason: 'SHIM_FAILED' | 'SHIM_TIMEOUT';
  /** Goes on after "the shim". */
  readonly what: string;
}

/** Shims that were started and have not answered. */
export class Launches {
  readonly #options: LaunchesOptions;
  readonly #launches = new Set<Launch>();

  constructor(options: LaunchesOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#launches.size === 0;
  }

  get pollFds(): readonly PollFd[] {
    return [...this.#launches].map(({ readyFd }) => ({ fd: readyFd, events: POLLIN }));
  }

  /** In how many milliseconds the first patience ends. */
  get dueInMs(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const { deadline } of this.#launches) first = Math.min(first, deadline);
    return Math.max(0, first - performance.now());
  }

  /** Of those that adopt. */
  get adoptions(): number {
    return [...this.#launches].filter(({ task }) => task.adopt).length;
  }

  find(containerId: string): Launch | undefined {
    return [...this.#launches].find(({ task }) => task.containerId === containerId);
  }

  start(task: ShimTask, fds: NamedFds = {}, replacedPid = 0): Launch {
    const { starter, processes, timeoutMs } = this.#options;
    const { pid, readyFd } = starter.start(task, fds);
    const shim = processes.addChild(pid);
    const launch = new Launch({ task, shim, readyFd, replacedPid, timeoutMs });
    this.#launches.add(launch);
    return launch;
  }

  /** Reads the answers that are there. */
  advance(ready: ReadonlyMap<number, number>): void {
    for (const launch of [...this.#launches]) if (ready.has(launch.readyFd)) this.#advance(launch);
  }

  /** A process has ended: if it was a shim under way, what it had said before counts, or nothing. */
  ended(process: WatchedProcess): void {
    const launch = [...this.#launches].find(({ shim }) => shim === process);
    if (launch !== undefined) this.#advance(launch);
  }

  killLate(): void {
    const now = performance.now();
    const what = `did not answer in ${this.#options.timeoutMs / 1000} s`;
    for (const launch of [...this.#launches]) {
      if (launch.deadline <= now) this.#fail(launch, { reason: 'SHIM_TIMEOUT', what });
    }
  }

  forget(connection: Connection): void {
    for (const launch of this.#launches) launch.forget(connection);
  }

  #advance(launch: Launch): void {
    let answer: ShimAnswer | 'silent' | undefined;
    try {
      answer = launch.read();
    } catch (err) {
      this.#options.log.error({ containerId: launch.task.containerId, err }, 'shim sent what is no answer');
      answer = 'silent';
    }
    if (answer === 'silent' || (answer === undefined && launch.shim.hasEnded)) {
      const what = launch.task.adopt ? 'ended before it served' : 'ended before its container was made';
      this.#fail(launch, { reason: 'SHIM_FAILED', what });
    } else if (answer !== undefined) this.#finish(launch, answer);
  }

  #finish(launch: Launch, { reply: answer, kept }: ShimAnswer): void {
    const { log, listener } = this.#options;
    const { containerId, run, requestId } = launch.task;
    const durationMs = Math.round(performance.now() - launch.startedAt);
    const fields = { containerId, run: Number(run), requestId, shimPid: launch.shim.pid, durationMs };
    const { reply } = answer;
    this.#launches.delete(launch);
    if (reply?.$case === 'launch') {
      const what = launch.task.adopt ? 'shim has adopted its container' : 'shim has made its container';
      log.info({ ...fields, initPid: reply.value.initPid }, what);
      launch.finish(answer); // They wait; what follows is for later.
      listener.made(launch, reply.value, kept);
    } else {
      const { reason, message } = reply?.$case === 'error' ? reply.value : {};
      const what = launch.task.adopt ? 'shim could not adopt its container' : 'shim could not make its container';
      log[launch.task.adopt ? 'error' : 'info']({ ...fields, reason, problem: message }, what);
      listener.failed(launch);
      launch.finish(answer);
    }
  }

  /** The shim is of no use any more: it is killed, reaped like any other, and those who wait are told. */
  #fail(launch: Launch, { reason, what }: Failure): void {
    const { log, listener } = this.#options;
    const { containerId, run } = launch.task;
    this.#launches.delete(launch);
    launch.shim.kill();
    log.error({ containerId, run: Number(run), shimPid: launch.shim.pid, reason }, `shim ${what}`);
    const code = reason === 'SHIM_TIMEOUT' ? 'deadline_exceeded' : 'internal';
    const message = `the shim of container ${containerId} ${what}`;
    listener.failed(launch);
    launch.finish(toErrorReply(new FlotillaError(code, message, { reason, metadata: { containerId } })));
  }
}
