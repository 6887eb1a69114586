import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ChildExit, findProcess, nowUnixNano } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import { type LaunchReply, TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { findExitRecord, writeExitRecord } from '../shim/exit-record.ts';
import type { ShimTask } from './launch.ts';
import { wasOomKilled } from './oom-killed.ts';
import { findShimRecord, isInitAlive, isShimAlive } from './shim-record.ts';

/** A container whose shim lives, or has died. */
interface Served {
  readonly task: ShimTask;
  readonly reply: LaunchReply;
  readonly initStartTime: number | undefined;
}

/** What is known of a container that is to be launched. */
export type Found =
  | { readonly kind: 'served'; readonly run: bigint; readonly reply: LaunchReply }
  /** Its init goes on without a shim. */
  | { readonly kind: 'orphaned'; readonly run: bigint; readonly initPid: number };

/** The shims that are children of this process, and the containers whose shims have died: those are its children now. */
export class ShimTable {
  readonly #log: Logger;
  /** By the shim's pid. */
  readonly #served = new Map<number, Served>();
  /** By init's pid. */
  readonly #orphaned = new Map<number, Served>();

  constructor(log: Logger) {
    this.#log = log;
  }

  get size(): number {
    return this.#served.size;
  }

  /** A shim has made its container. */
  add(task: ShimTask, reply: LaunchReply): void {
    this.#served.set(reply.shimPid, { task, reply, initStartTime: findProcess(reply.initPid)?.startTime });
  }

  /** Who serves a container, made by this launcher or by an earlier one; `undefined` when it has no processes. */
  find({ shimDir }: ShimTask): Found | undefined {
    const record = findShimRecord(shimDir);
    if (record === undefined) return undefined;
    const { pid, initPid, warnings } = record;
    const run = BigInt(record.run);
    if (isShimAlive(record)) {
      return { kind: 'served', run, reply: { shimPid: pid, initPid, warnings: [...warnings], keptDescriptors: [] } };
    }
    return isInitAlive(record) ? { kind: 'orphaned', run, initPid } : undefined;
  }

  /** Takes notice of what has ended, and answers the inits that are children of this process from now on. */
  end(exits: readonly ChildExit[]): readonly number[] {
    // Shims first: their containers are known as orphans then, in whatever order the kernel had both ends.
    const orphans = exits.flatMap((exit) => this.#endShim(exit, exits));
    for (const exit of exits) this.#endOrphan(exit);
    return orphans.filter((initPid) => this.#orphaned.has(initPid));
  }

  #endShim(exit: ChildExit, exits: readonly ChildExit[]): number[] {
    const served = this.#served.get(exit.pid);
    if (served === undefined) return [];
    this.#served.delete(exit.pid);
    const { task, reply, initStartTime } = served;
    const fields = { containerId: task.containerId, run: Number(task.run), shimPid: exit.pid };
    if (exit.exitCode === 0) {
      this.#log.debug(fields, 'shim has left');
      return [];
    }
    const isOurs =
      exits.some(({ pid }) => pid === reply.initPid) || findProcess(reply.initPid)?.startTime === initStartTime;
    if (isOurs) this.#orphaned.set(reply.initPid, served);
    this.#log.error({ ...fields, initPid: reply.initPid, initFound: isOurs, ...describe(exit) }, 'shim has died');
    return isOurs ? [reply.initPid] : [];
  }

  /** Does for a container what its shim would have done: its exit status is on disk. */
  #endOrphan(exit: ChildExit): void {
    const served = this.#orphaned.get(exit.pid);
    if (served === undefined) return;
    this.#orphaned.delete(exit.pid);
    const { containerId, run, shimDir } = served.task;
    const fields = { containerId, run: Number(run), initPid: exit.pid, ...describe(exit) };
    try {
      const { stateDir, cgroupParent } = readTaskOptions(shimDir);
      if (findExitRecord(stateDir)?.run === run) return; // The shim had come so far.
      writeExitRecord(stateDir, {
        containerId,
        run,
        exitCode: exit.exitCode,
        signal: exit.signal,
        oomKilled: wasOomKilled(`${cgroupParent}/${containerId}`),
        exitedAtUnixNano: nowUnixNano(),
      });
      this.#log.info(fields, 'container without a shim has exited');
    } catch (err) {
      this.#log.error({ ...fields, err }, 'exit status of a container without a shim could not be recorded');
    }
  }
}

function readTaskOptions(shimDir: string): TaskOptions {
  return TaskOptions.fromJSON(JSON.parse(readFileSync(join(shimDir, 'task.json'), 'utf8')));
}

/** Fields for the log. */
export function describe({ exitCode, signal }: ChildExit): { readonly exitCode: number; readonly exitSignal?: number } {
  return signal === undefined ? { exitCode } : { exitCode, exitSignal: signal };
}
