import process from 'node:process';
import { FlotillaError, invalidField } from '@flotilla/errors';
import { type ChildExit, ExitFiles, exitNow, type PollFd, poll } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import {
  type CloseStdinRequest,
  LauncherReply,
  type LauncherRequest,
  type LaunchRequest,
  type ReplaceRequest,
} from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { engineVersion } from '@flotilla/rpc';
import type { Connection } from './connection.ts';
import { Connections } from './connections.ts';
import { ContainerTable } from './container-table.ts';
import { FdStore } from './fd-store.ts';
import type { KeptContainer } from './kept-container.ts';
import type { Launch } from './launch.ts';
import { Launches } from './launches.ts';
import type { PassedDescriptors } from './passed-descriptors.ts';
import { Processes } from './processes.ts';
import { rediscover, rediscoverAll } from './rediscover.ts';
import { toLaunchReply, toStateReply } from './replies.ts';
import type { ShimStarter } from './shim-starter.ts';
import { checkContainerId, parseTask } from './shim-task.ts';
import { StoredDescriptors } from './stored-descriptors.ts';
import type { WatchedProcess } from './watched-process.ts';

const orphanSweepMs = 1_000;
/** So that many containers that lose their shims at once do not all wait for the processor, and launches with them. */
const mostAdoptions = 8;

export interface LauncherLoopOptions {
  readonly passed: PassedDescriptors;
  readonly starter: ShimStarter;
  readonly log: Logger;
  /** Folder of all shims' folders. */
  readonly shimsDir: string;
  /** Folder for what the next shims are to know. */
  readonly exitsDir: string;
  /** How long a shim may take to make its container. */
  readonly launchTimeoutMs: number;
}

/**
 * Serves launcher.sock with poll(2) alone, and so in step with fork(2) and waitid(2), which are no matter of an event loop.
 */
export class LauncherLoop {
  readonly #starter: ShimStarter;
  readonly #log: Logger;
  readonly #processes: Processes;
  readonly #store: FdStore;
  readonly #table: ContainerTable;
  readonly #launches: Launches;
  readonly #connections: Connections;
  #template: WatchedProcess | undefined;
  /** Who wants this launcher to make way. */
  #drained: Connection | undefined;

  /** Takes up what an earlier launcher had. */
  constructor({ passed, starter, log, shimsDir, exitsDir, launchTimeoutMs }: LauncherLoopOptions) {
    this.#starter = starter;
    this.#log = log;
    const onStrayEnd = (exit: ChildExit): void => this.#table.strayEnded(exit);
    const processes = new Processes(onStrayEnd);
    this.#processes = processes;
    this.#watchTemplate();
    const store = new FdStore(passed.notifyAddress, log);
    this.#store = store;
    const isUnderWay = (containerId: string): boolean => this.#launches.find(containerId) !== undefined;
    this.#table = new ContainerTable({ processes, store, exits: new ExitFiles(exitsDir), log, isUnderWay });
    this.#launches = new Launches({ starter, processes, listener: this.#table, log, timeoutMs: launchTimeoutMs });
    this.#connections = new Connections({
      listenFd: passed.listenFd,
      log,
      onRequest: (connection, request) => this.#answer(connection, request),
      onGone: (connection) => this.#launches.forget(connection),
    });
    rediscoverAll(shimsDir, passed.stored, { processes, table: this.#table, store, log });
    store.notify({ READY: '1' });
  }

  /** Serves for ever; ends by throwing when shims cannot be started any more. */
  run(): never {
    for (;;) this.#turn();
  }

  #turn(): void {
    const ready = this.#waitForReady();
    if (this.#starter.advance(ready)) this.#watchTemplate();
    // Answers of shims before their ends: one may answer and leave in the same moment.
    this.#launches.advance(ready);
    this.#takeNoticeOfEnds(ready);
    this.#launches.killLate();
    this.#connections.advance(ready);
    if (this.#drained === undefined) this.#adoptDue();
    this.#store.flush();
    this.#leaveIfDrained();
  }

  /** The one before ends by itself. */
  #watchTemplate(): void {
    const { templatePid } = this.#starter;
    if (templatePid !== undefined) this.#template = this.#processes.addChild(templatePid);
  }

  /** What poll(2) says of each that has something, by descriptor; nothing when something is due. */
  #waitForReady(): ReadonlyMap<number, number> {
    const watched: PollFd[] = [
      ...this.#connections.pollFds,
      ...this.#launches.pollFds,
      ...this.#processes.pollFds,
      ...this.#store.pollFds,
      ...this.#starter.pollFds,
    ];
    const flags = poll(watched, this.#pollTimeoutMs());
    return new Map(watched.flatMap(({ fd }, i) => (flags[i] === 0 ? [] : [[fd, flags[i]!]])));
  }

  /** To what is due first; and orphans that nobody told of are looked for now and then. */
  #pollTimeoutMs(): number {
    const canAdopt = this.#drained === undefined && this.#launches.adoptions < mostAdoptions;
    const dueInMs = Math.min(
      this.#launches.dueInMs,
      this.#processes.dueInMs,
      canAdopt ? this.#table.dueInMs : Number.POSITIVE_INFINITY,
      this.#table.hasOrphans ? orphanSweepMs : Number.POSITIVE_INFINITY,
    );
    return dueInMs === Number.POSITIVE_INFINITY ? -1 : Math.ceil(dueInMs);
  }

  #takeNoticeOfEnds(ready: ReadonlyMap<number, number>): void {
    let shimsEnded = 0;
    for (const ended of this.#processes.collect(ready)) {
      if (ended === this.#template) throw new Error('the template of the shims has ended');
      this.#launches.ended(ended);
      if (this.#table.ended(ended) === 'shim' && ended.exit?.exitCode !== 0) shimsEnded++;
    }
    if (shimsEnded > 0) this.#processes.adoptOrphans();
  }

  #adoptDue(): void {
    for (const container of this.#table.due) {
      if (this.#launches.adoptions >= mostAdoptions) return;
      this.#adopt(container);
    }
  }

  /** A new shim for a container: in the place of one that lives, or of a dead one. */
  #adopt(container: KeptContainer, requestId = container.task.requestId): Launch {
    const shimPid = container.reply.shimPid;
    const replaces = container.isServed ? shimPid : 0;
    return this.#launches.start({ ...container.task, requestId, adopt: true, replaces }, container.fds, shimPid);
  }

  /** Others queue at the socket; what is under way comes to its end. */
  #drain(connection: Connection): void {
    this.#drained = connection;
    this.#connections.isListening = false;
  }

  /** Who wants it to leave sees to the next launcher; when that one has gone itself, this one goes on. */
  #leaveIfDrained(): void {
    if (this.#drained?.isOver) {
      this.#drained = undefined;
      this.#connections.isListening = true;
    }
    if (this.#drained === undefined || !this.#launches.isEmpty || this.#store.pollFds.length > 0) return;
    if (!this.#connections.isAlone(this.#drained)) return;
    this.#log.info({ shims: this.#table.served }, 'makes way for another launcher');
    this.#drained.reply(LauncherReply.create({ reply: { $case: 'drain', value: {} } }));
    exitNow(0);
  }

  #answer(connection: Connection, { request }: LauncherRequest): void {
    switch (request?.$case) {
      case 'launch':
        this.#launch(connection, request.value);
        break;
      case 'replace':
        this.#replace(connection, request.value);
        break;
      case 'closeStdin':
        connection.reply(this.#closeStdin(request.value));
        break;
      case 'drain':
        this.#drain(connection);
        break;
      case 'state':
        connection.reply(this.#state());
        break;
      default:
        throw invalidField('request', 'launch, replace, close_stdin, drain or state');
    }
  }

  #launch(connection: Connection, request: LaunchRequest): void {
    const task = parseTask(request);
    const { containerId } = task;
    const underWay = this.#launches.find(containerId);
    const found = underWay === undefined ? this.#find(task) : undefined;
    const otherRun = underWay?.task.run ?? found?.task.run ?? task.run;
    if (otherRun !== task.run) {
      throw new FlotillaError('failed_precondition', `run ${otherRun} of container ${containerId} is not over`, {
        reason: 'OTHER_RUN_NOT_OVER',
        metadata: { containerId, run: String(task.run), otherRun: String(otherRun) },
      });
    }
    if (found?.isServed) {
      connection.reply(toLaunchReply(found.reply));
      return;
    }
    const launch = underWay ?? (found === undefined ? this.#launches.start(task) : this.#adopt(found, task.requestId));
    launch.wait(connection, 'launch');
  }

  /** TASK_NOT_RUNNING when there is nothing to take over. */
  #replace(connection: Connection, request: ReplaceRequest): void {
    const task = parseTask({ ...request, run: 0n });
    const { containerId } = task;
    const underWay = this.#launches.find(containerId);
    const found = underWay === undefined ? this.#find(task) : undefined;
    if (underWay === undefined && found === undefined) {
      throw new FlotillaError('failed_precondition', `container ${containerId} does not run`, {
        reason: 'TASK_NOT_RUNNING',
        metadata: { containerId },
      });
    }
    const launch = underWay ?? this.#adopt(found!, task.requestId);
    launch.wait(connection, 'replace');
  }

  #closeStdin({ containerId, run }: CloseStdinRequest): LauncherReply {
    checkContainerId(containerId);
    this.#table.closeStdin(containerId, run);
    return LauncherReply.create({ reply: { $case: 'closeStdin', value: {} } });
  }

  /** Known here, or by its folder; not when its shim has cleaned up and is about to leave. */
  #find(task: { readonly containerId: string; readonly shimDir: string }): KeptContainer | undefined {
    const surroundings = { processes: this.#processes, table: this.#table, store: this.#store, log: this.#log };
    return this.#table.findThere(task.containerId) ?? rediscover(task, new StoredDescriptors(), surroundings);
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
      shims: this.#table.served,
      replacedShims: BigInt(this.#table.replaced),
      orphans: this.#table.orphaned,
      keptDescriptors: this.#table.keptDescriptors,
      storedDescriptors: this.#store.size,
    });
  }
}
