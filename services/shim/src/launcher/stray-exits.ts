import { readFileSync } from 'node:fs';
import { type ChildExit, type ExitFiles, findProcess, isErrno } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import { readExecFiles } from '../shim/task/exec-files.ts';
import { describe } from './exit-keeper.ts';
import type { ShimTask } from './shim-task.ts';

export interface StrayExitsOptions {
  readonly exits: ExitFiles;
  readonly containers: ReadonlyMap<string, { readonly task: ShimTask }>;
  readonly log: Logger;
}

/**
 * Writes down, for the next shim of its container, how an exec ended whose shim is dead. It is a zombie that has not been
 * reaped. Whether the shim's death has been noticed does not matter: they may have died together.
 */
export function keepStrayExit({ pid, ...exit }: ChildExit, { exits, containers, log }: StrayExitsOptions): void {
  try {
    const startTime = findProcess(pid)?.startTime;
    if (startTime === undefined) return;
    const named = cgroupNames(pid).filter((name) => containers.has(name));
    for (const containerId of named.length > 0 ? named : containers.keys()) {
      const execs = readExecFiles(containers.get(containerId)!.task.shimDir);
      const exec = execs.find((one) => one.pid === pid && one.startTime === startTime);
      if (exec === undefined) continue;
      exits.write(pid, startTime, exit);
      log.info({ containerId, execId: exec.execId, ...describe(exit) }, 'exec has ended whose shim is gone');
      return;
    }
  } catch (err) {
    log.error({ strayPid: pid, ...describe(exit), err }, 'end of an orphan could not be recorded');
  }
}

/** Names on the path of its v2 group, in which a zombie still is, though in no v1 group: cgroups(7). */
function cgroupNames(pid: number): readonly string[] {
  try {
    const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n');
    return lines.find((line) => line.startsWith('0::'))?.split('/') ?? [];
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return [];
    throw error;
  }
}
