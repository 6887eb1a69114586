import process from 'node:process';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { accept4, kill, POLLIN, type PollFd, poll, SIGKILL } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { LauncherReply, LauncherRequest, LaunchRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { engineVersion } from '@flotilla/rpc';
import { Children } from './children.ts';
import { Connection } from './connection.ts';
import { Launch, parseTask, type ShimTask } from './launch.ts';
import { toErrorReply, toLaunchReply, toStateReply } from './replies.ts';
import type { ShimStarter } from './shim-starter.ts';
import { describe, ShimTable } from './shim-table.ts';

const mostConnections = 512;
const orphanSweepMs = 1_000;

interface LaunchFailure {
  readonly reason: 'SHIM_FAILED' | 'SHIM_TIMEOUT';
  /** Goes on after "the shim". */
  readonly what: string;
  readonly isReaped?: boolean;
}

export interface LauncherLoopOptions {
  readonly listenFd: number;
  readonly starter: ShimStarter;
  readonly log: Logger;
  /** How long a shim may take to make its container. */
  readonly launchTimeoutMs: number;
}

/**
 * Serves launcher.sock with poll(2) alone, and so in step with fork(2) and waitid(2), which are no matter of an event loop.
 */
export class LauncherLoop {
  readonly #listenFd: number;
  readonly #starter: ShimStarter;
  readonly #log: Logger;
  readonly #launchTimeoutMs: number;
  readonly #shims: ShimTable;
  readonly #children = new Children();
  readonly #connections = new Map<number, Connection>();
  /** By the shim's pid. */
  readonly #launches = new Map<number, Launch>();
  #hasOrphans = false;

  constructor({ listenFd, starter, log, launchTimeoutMs }: LauncherLoopOptions) {
    this.#listenFd = listenFd;
    this.#starter = starter;
    this.#log = log;
    this.#launchTimeoutMs = launchTimeoutMs;
    this.#shims = new ShimTable(log);
    if (starter.templatePid !== undefined) this.#children.add(starter.templatePid);
  }

  /** Serves for ever; ends by throwing when shims cannot be started any more. */
  run(): never {
    for (;;) this.#turn();
  }

  #turn(): void {
    const connections = [...this.#connections.values()];
    const launches = [...this.#launches.values()];
    const listenFd = connections.length < mostConnections ? this.#listenFd : -1;
    const watched: PollFd[] = [
      { fd: listenFd, events: POLLIN },
      ...connections.map(({ fd, events }) => ({ fd, events })),
      ...launches.map(({ readyFd }) => ({ fd: readyFd, events: POLLIN })),
      ...this.#children.pidfds.map((fd) => ({ fd, events: POLLIN })),
    ];
    const [listener, ...others] = poll(watched, this.#pollTimeoutMs());
    // Answers of shims before their ends: one may answer and leave in the same moment.
    launches.forEach((launch, i) => {
      if (others[connections.length + i] !== 0) this.#advance(launch);
    });
    this.#reap();
    this.#killLate();
    for (const [i, connection] of connections.entries()) {
      if (others[i] !== 0) this.#converse(connection);
    }
    if (listener !== 0) this.#accept();
    this.#dropFinished();
  }

  /** To the first deadline; and orphans that nobody told of are looked for now and then. */
  #pollTimeoutMs(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const { deadline } of this.#launches.values()) first = Math.min(first, deadline);
    const timeoutMs = Math.max(0, Math.ceil(first - performance.now()));
    if (this.#hasOrphans) return Math.min(timeoutMs, orphanSweepMs);
    return timeoutMs === Number.POSITIVE_INFINITY ? -1 : timeoutMs;
  }

  #accept(): void {
    for (let fd = accept4(this.#listenFd); fd !== undefined; fd = accept4(this.#listenFd)) {
      const connection = new Connection(fd);
      this.#connections.set(fd, connection);
      if (connection.isTrusted()) this.#converse(connection);
      else this.#refuse(connection);
      if (this.#connections.size >= mostConnections) return;
    }
  }

  #refuse(connection: Connection): void {
    const message = 'only root and the user of the engine may talk to the launcher';
    connection.reply(toErrorReply(new FlotillaError('permission_denied', message, { reason: 'PEER_NOT_ALLOWED' })));
  }

  #converse(connection: Connection): void {
    try {
      const request = connection.onReady();
      if (request !== undefined) this.#answer(connection, request);
    } catch (err) {
      if (!(err instanceof FlotillaError)) this.#log.error({ err }, 'request failed');
      connection.reply(toErrorReply(err));
    }
  }

  #answer(connection: Connection, { request }: LauncherRequest): void {
    switch (request?.$case) {
      case 'launch':
        this.#launch(connection, request.value);
        break;
      case 'state':
        connection.reply(this.#state());
        break;
      default:
        throw invalidField('request', 'launch or state');
    }
  }

  #state(): LauncherReply {
    const { mode, problem, counts } = this.#starter;
    const { forks, replaced } = counts;
    return toStateReply({
      forkMode: mode,
      forkProblem: problem,
      pid: process.pid,
      version: engineVersion,
      forks: BigInt(forks),
      replaced: BigInt(replaced),
      shims: this.#shims.size,
    });
  }

  #launch(connection: Connection, request: LaunchRequest): void {
    const task = parseTask(request);
    const { containerId } = task;
    const underWay = [...this.#launches.values()].find((launch) => launch.task.containerId === containerId);
    const found = underWay === undefined ? this.#shims.find(task) : undefined;
    const otherRun = underWay?.task.run ?? found?.run ?? task.run;
    if (otherRun !== task.run) {
      throw new FlotillaError('failed_precondition', `run ${otherRun} of container ${containerId} is not over`, {
        reason: 'OTHER_RUN_NOT_OVER',
        metadata: { containerId, run: String(task.run), otherRun: String(otherRun) },
      });
    }
    if (found?.kind === 'orphaned') {
      throw new FlotillaError('failed_precondition', `container ${containerId} goes on without a shim`, {
        reason: 'SHIM_LOST',
        metadata: { containerId, initPid: String(found.initPid) },
      });
    }
    if (underWay !== undefined) underWay.waiting.push(connection);
    else if (found !== undefined) connection.reply(toLaunchReply(found.reply));
    else this.#start(task, connection);
  }

  #start(task: ShimTask, connection: Connection): void {
    const launch = new Launch(task, this.#starter.start(task), this.#launchTimeoutMs);
    this.#children.add(launch.pid);
    launch.waiting.push(connection);
    this.#launches.set(launch.pid, launch);
  }

  #advance(launch: Launch, isReaped = false): void {
    let reply: LauncherReply | 'silent' | undefined;
    try {
      reply = launch.read();
    } catch (err) {
      this.#log.error({ containerId: launch.task.containerId, err }, 'shim sent what is no answer');
      reply = 'silent';
    }
    if (reply === 'silent' || (reply === undefined && isReaped)) {
      this.#fail(launch, { reason: 'SHIM_FAILED', what: 'ended before its container was made', isReaped });
    } else if (reply !== undefined) {
      this.#finish(launch, reply);
    }
  }

  #finish(launch: Launch, answer: LauncherReply): void {
    const { containerId, run, requestId } = launch.task;
    const durationMs = Math.round(performance.now() - launch.startedAt);
    const fields = { containerId, run: Number(run), requestId, shimPid: launch.pid, durationMs };
    const { reply } = answer;
    if (reply?.$case === 'launch') {
      this.#shims.add(launch.task, reply.value);
      this.#log.info({ ...fields, initPid: reply.value.initPid }, 'shim has made its container');
    } else {
      const { reason, message } = reply?.$case === 'error' ? reply.value : {};
      this.#log.info({ ...fields, reason, problem: message }, 'shim could not make its container');
    }
    this.#launches.delete(launch.pid);
    launch.finish(answer);
  }

  /** The shim is of no use any more: it is killed, reaped like any other, and those who wait are told. */
  #fail(launch: Launch, { reason, what, isReaped = false }: LaunchFailure): void {
    const { containerId, run } = launch.task;
    this.#launches.delete(launch.pid);
    if (!isReaped) kill(launch.pid, SIGKILL); // At the worst a zombie: its pid is its own until it is reaped here.
    this.#log.error({ containerId, run: Number(run), shimPid: launch.pid, reason }, `shim ${what}`);
    const code = reason === 'SHIM_TIMEOUT' ? 'deadline_exceeded' : 'internal';
    launch.finish(
      toErrorReply(
        new FlotillaError(code, `the shim of container ${containerId} ${what}`, { reason, metadata: { containerId } }),
      ),
    );
  }

  #killLate(): void {
    const now = performance.now();
    for (const launch of [...this.#launches.values()]) {
      if (launch.deadline > now) continue;
      this.#fail(launch, { reason: 'SHIM_TIMEOUT', what: `did not answer in ${this.#launchTimeoutMs / 1000} s` });
    }
  }

  #reap(): void {
    const exits = this.#children.reap();
    if (exits.length === 0) return;
    if (exits.some(({ pid }) => pid === this.#starter.templatePid))
      throw new Error('the template of the shims has ended');
    for (const initPid of this.#shims.end(exits)) {
      this.#hasOrphans = true;
      this.#children.add(initPid);
    }
    for (const exit of exits) {
      const launch = this.#launches.get(exit.pid);
      if (launch === undefined) continue;
      const { containerId } = launch.task;
      this.#log.debug({ containerId, shimPid: exit.pid, ...describe(exit) }, 'shim has ended');
      this.#advance(launch, true); // What it had said before it ended, or nothing.
    }
  }

  #dropFinished(): void {
    for (const connection of this.#connections.values()) {
      if (!connection.isOver) continue;
      this.#connections.delete(connection.fd);
      for (const { waiting } of this.#launches.values()) {
        const at = waiting.indexOf(connection);
        if (at !== -1) waiting.splice(at, 1);
      }
      connection.close();
    }
  }
}
