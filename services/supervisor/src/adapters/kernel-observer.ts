import { readFileSync } from 'node:fs';
import { totalmem } from 'node:os';
import { ContainerCgroup } from '@flotilla/libcontainer';
import { isErrno } from '@flotilla/linux';
import type { ContainerRecord } from '../domain/container.ts';
import type { HostUsage, LinkUsage, Observer, Usage } from '../domain/observation.ts';
import { parseLinkCounters } from './link-counters.ts';
import { runPs } from './run-ps.ts';

/** USER_HZ, the unit of /proc/stat. */
const nanosPerTick = 10_000_000;

/** Reads cgroup files and proc(5). */
export class KernelObserver implements Observer {
  readonly #cgroupsPath: (containerId: string) => string;

  /** `cgroupsPath`: `/<instance>/<container id>`. */
  constructor(cgroupsPath: (containerId: string) => string) {
    this.#cgroupsPath = cgroupsPath;
  }

  pids(containerId: string): readonly number[] {
    return ContainerCgroup.open(this.#cgroupsPath(containerId)).pids();
  }

  ps(args: readonly string[], signal: AbortSignal): Promise<string> {
    return runPs(args, signal);
  }

  usage({ containerId, config, task }: ContainerRecord): Usage {
    const path = this.#cgroupsPath(containerId);
    const links = config.networkMode === 'host' ? [] : readLinks(task?.initPid ?? 0, path);
    return { ...ContainerCgroup.open(path).stats(), links };
  }

  host(): HostUsage {
    const lines = readFileSync('/proc/stat', 'utf8').split('\n');
    // user nice system idle iowait irq softirq steal; guest time, behind them, is part of user time: proc_stat(5).
    const ticks = (lines[0] ?? '').trim().split(/\s+/).slice(1, 9).map(Number);
    return {
      cpuNanos: ticks.reduce((sum, one) => sum + one, 0) * nanosPerTick,
      onlineCpus: lines.filter((line) => /^cpu\d/.test(line)).length,
      memoryBytes: totalmem(),
    };
  }
}

/** What init's network namespace has counted; nothing once it is gone. */
function readLinks(initPid: number, cgroupsPath: string): readonly LinkUsage[] {
  if (initPid === 0) return [];
  try {
    const counters = readFileSync(`/proc/${initPid}/net/dev`, 'utf8');
    // Read last: if it is the container's now, it was when the counters were read.
    if (!readFileSync(`/proc/${initPid}/cgroup`, 'utf8').includes(cgroupsPath)) return [];
    return parseLinkCounters(counters);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EINVAL')) return [];
    throw error;
  }
}
