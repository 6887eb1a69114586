import process from 'node:process';
import { type ChildExit, closeFd, type ExitFiles, findProcess } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { LaunchReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { describe, keepExit } from './exit-keeper.ts';
import type { FdStore } from './fd-store.ts';
import { KeptContainer } from './kept-container.ts';
import type { Launch } from './launch.ts';
import type { Processes } from './processes.ts';
import { findShimRecord, open } from './shim-record.ts';
import { storedName, storedNames } from './stored-name.ts';
import { keepStrayExit } from './stray-exits.ts';
import type { WatchedProcess } from './watched-process.ts';

export interface ContainerTableOptions {
  readonly processes: Processes;
  readonly store: FdStore;
  readonly exits: ExitFiles;
  readonly log: Logger;
  /** Whether a shim is being started for a container. */
  readonly isUnderWay: (containerId: string) => boolean;
}

/** The containers that have a shim, or had one that died. */
export class ContainerTable {
  readonly #options: ContainerTableOptions;
  readonly #containers = new Map<string, KeptContainer>();
  /** Shims that were put in the place of others. */
  replaced = 0;

  constructor(options: ContainerTableOptions) {
    this.#options = options;
  }

  get served(): number {
    return [...this.#containers.values()].filter(({ isServed }) => isServed).length;
  }

  get orphaned(): number {
    return this.#containers.size - this.served;
  }

  get keptDescriptors(): number {
    return [...this.#containers.values()].reduce((sum, { descriptors }) => sum + descriptors.size, 0);
  }

  /** Whether one has an init whose parent has died. */
  get hasOrphans(): boolean {
    return [...this.#containers.values()].some(({ isAdopted, isServed }) => isAdopted || !isServed);
  }

  /** One that is there; not when its shim has cleaned up and is about to leave: its folder may be the next run's. */
  findThere(containerId: string): KeptContainer | undefined {
    const container = this.#containers.get(containerId);
    if (container === undefined) return undefined;
    return findShimRecord(container.task.shimDir)?.run === String(container.task.run) ? container : undefined;
  }

  /** One that was found, or made. What was kept of a run before is let go. */
  add(container: KeptContainer): void {
    const { containerId } = container.task;
    const old = this.#containers.get(containerId);
    if (old !== undefined) this.#remove(old);
    this.#containers.set(containerId, container);
  }

  /** A shim serves: of a new container, or in the place of another. */
  made({ task, shim }: Launch, reply: LaunchReply, kept: ReadonlyMap<string, number>): void {
    let container = this.#containers.get(task.containerId);
    if (!task.adopt || container === undefined) {
      // Its child; or this process's, when the shim has been killed since.
      const parents = [shim.pid, process.pid];
      const init = open(reply.initPid, () => parents.includes(findProcess(reply.initPid)?.parentPid ?? 0));
      container = new KeptContainer(task, { shim, init, reply });
      this.add(container);
      if (init !== undefined) this.#options.store.add(storedName('init', task.containerId), init.pidfd);
    } else {
      this.replaced++;
      container.serve(shim, reply);
      container.isAdopted = true;
      if (container.init !== undefined) this.#follow(container, container.init);
    }
    for (const [name, fd] of kept) this.#keep(container, name, fd);
  }

  /** The launch of a new shim has come to nothing. */
  failed({ task }: Launch): void {
    const container = this.#containers.get(task.containerId);
    if (!task.adopt || container === undefined || container.isServed) return;
    if (container.shim?.exit?.exitCode === 0) this.#remove(container);
    else this.orphan(container);
  }

  /** Takes notice of a process that has ended. */
  ended(process: WatchedProcess): 'shim' | undefined {
    for (const container of this.#containers.values()) {
      if (container.init === process) keepExit(container, this.#options.log);
      else if (container.shim === process) {
        this.#shimEnded(container, process);
        return 'shim';
      }
    }
    return undefined;
  }

  /** A child has ended that is in nobody's books, and is not reaped yet. */
  strayEnded(exit: ChildExit): void {
    const { exits, log } = this.#options;
    keepStrayExit(exit, { exits, containers: this.#containers, log });
  }

  /** Those for which a shim is to be started now. */
  get due(): readonly KeptContainer[] {
    const now = performance.now();
    return [...this.#containers.values()].filter(
      ({ task, dueAt, init }) =>
        dueAt <= now &&
        !this.#options.isUnderWay(task.containerId) &&
        // How an init ended that somebody else is about to reap is to be known first.
        (init === undefined || init.hasEnded || !init.isDead()),
    );
  }

  /** In how many milliseconds the next is due. */
  get dueInMs(): number {
    let first = Number.POSITIVE_INFINITY;
    for (const { task, dueAt } of this.#containers.values()) {
      if (!this.#options.isUnderWay(task.containerId)) first = Math.min(first, dueAt);
    }
    return Math.max(0, first - performance.now());
  }

  /** Its shim is gone: another is to come, unless there is nothing left to serve. */
  orphan(container: KeptContainer): void {
    const { init, task } = container;
    if (init !== undefined) this.#follow(container, init);
    // It goes first when a shim cleans up.
    if (findShimRecord(task.shimDir)?.run === String(task.run)) container.orphan();
    else this.#remove(container);
  }

  /** Lets go of the copy of a container's input. */
  closeStdin(containerId: string, run: bigint): void {
    const container = this.#containers.get(containerId);
    if (container?.task.run === run) this.#letGo(container, 'stdin');
  }

  /** A descriptor for the container's next shim, with the service manager too unless it came from there. */
  #keep(container: KeptContainer, name: string, fd: number): void {
    this.#letGo(container, name);
    container.descriptors.set(name, fd);
    this.#options.store.add(storedName(name, container.task.containerId), fd);
  }

  #letGo({ descriptors, task }: KeptContainer, name: string): void {
    const fd = descriptors.get(name);
    if (fd === undefined) return;
    descriptors.delete(name);
    this.#options.store.remove(...storedNames(name, task.containerId));
    closeFd(fd);
  }

  #shimEnded(container: KeptContainer, { pid, exit }: WatchedProcess): void {
    const { log, isUnderWay } = this.#options;
    const { containerId, run } = container.task;
    const fields = { containerId, run: Number(run), shimPid: pid, ...describe(exit) };
    if (isUnderWay(containerId)) log.debug(fields, 'shim has made way for another');
    else if (exit?.exitCode === 0) {
      log.debug(fields, 'shim has left');
      this.#remove(container);
    } else {
      log.error({ ...fields, initPid: container.reply.initPid }, 'shim has died');
      this.orphan(container);
    }
  }

  #follow(container: KeptContainer, init: WatchedProcess): void {
    if (init.hasEnded) return;
    this.#options.processes.follow(init);
    if (init.hasEnded) keepExit(container, this.#options.log);
  }

  #remove(container: KeptContainer): void {
    const { store, processes } = this.#options;
    const { task, init, descriptors } = container;
    for (const name of [...descriptors.keys()]) this.#letGo(container, name);
    store.remove(...storedNames('init', task.containerId));
    if (init !== undefined) processes.forget(init);
    if (this.#containers.get(task.containerId) === container) this.#containers.delete(task.containerId);
  }
}
