import type { ContainerRecord } from './container.ts';

// What the kernel says of a container, without its shim: as true while that is stuck or dead.

/** Looks at processes from outside. */
export interface Observer {
  /** Every process of a container, those in groups that it made included. */
  pids(containerId: string): readonly number[];
  /** What ps(1) prints. INVALID_FIELD for arguments that it refuses, FAILED_PRECONDITION / PS_MISSING. */
  ps(args: readonly string[], signal: AbortSignal): Promise<string>;
  /** What a container that runs uses. */
  usage(container: ContainerRecord): Usage;
  host(): HostUsage;
}

/** What a container uses; a part is absent where the host does not count it, or the container has just ended. */
export interface Usage {
  readonly memory?: MemoryUsage | undefined;
  readonly cpu?: CpuUsage | undefined;
  readonly pids?: { readonly current: number; readonly limit?: number | undefined } | undefined;
  readonly links: readonly LinkUsage[];
  readonly blockDevices: readonly BlockDeviceUsage[];
}

export interface MemoryUsage {
  readonly usageBytes: number;
  /** Without page cache that can be given back at once. */
  readonly workingBytes: number;
  readonly limitBytes?: number | undefined;
  readonly maxUsageBytes?: number | undefined;
  readonly failCount?: number | undefined;
  readonly stats: ReadonlyMap<string, number>;
}

export interface CpuUsage {
  readonly usageNanos: number;
  readonly userNanos: number;
  readonly kernelNanos: number;
  readonly perCpuNanos: readonly number[];
  readonly periods: number;
  readonly throttledPeriods: number;
  readonly throttledNanos: number;
}

/** Counters of a link, as proc_pid_net(5) has them. */
export interface LinkUsage {
  readonly name: string;
  readonly receivedBytes: number;
  readonly receivedPackets: number;
  readonly receivedErrors: number;
  readonly receivedDropped: number;
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly sentErrors: number;
  readonly sentDropped: number;
}

export interface BlockDeviceUsage {
  readonly major: number;
  readonly minor: number;
  readonly bytes: ReadonlyMap<string, number>;
  readonly operations: ReadonlyMap<string, number>;
}

export interface HostUsage {
  /** Of all processors since boot, idle ones too. */
  readonly cpuNanos: number;
  readonly onlineCpus: number;
  readonly memoryBytes: number;
}
