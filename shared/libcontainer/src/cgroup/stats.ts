import { type BlockDeviceUsage, parseBlkio, parseIoStat } from './block-io.ts';
import { readIfThere, readNumber } from './group-files.ts';
import type { Hierarchy } from './hierarchies.ts';

/** What a container uses; a part is absent where the host does not count it, or the container has ended. */
export interface CgroupStats {
  readonly memory?: MemoryUsage | undefined;
  readonly cpu?: CpuUsage | undefined;
  readonly pids?: PidsUsage | undefined;
  readonly blockDevices: readonly BlockDeviceUsage[];
}

export interface MemoryUsage {
  /** With all page cache. */
  readonly usageBytes: number;
  /** Without page cache that can be given back at once: what `docker stats` shows. */
  readonly workingBytes: number;
  /** Absent without a limit. */
  readonly limitBytes?: number | undefined;
  readonly maxUsageBytes?: number | undefined;
  /** How often the limit was hit; v1 alone counts it. */
  readonly failCount?: number | undefined;
  /** Keys of memory.stat. */
  readonly stats: ReadonlyMap<string, number>;
}

export interface CpuUsage {
  readonly usageNanos: number;
  readonly userNanos: number;
  readonly kernelNanos: number;
  /** By number of the processor; v1 alone counts it. */
  readonly perCpuNanos: readonly number[];
  readonly periods: number;
  readonly throttledPeriods: number;
  readonly throttledNanos: number;
}

export interface PidsUsage {
  /** Processes and threads. */
  readonly current: number;
  /** Absent without a limit. */
  readonly limit?: number | undefined;
}

/** A v1 limit this high is none. */
const unlimitedV1 = 2 ** 62;
/** USER_HZ, in which v1 counts user and system time: the same on every architecture of Linux that Node.js runs on. */
const nanosPerTick = 10_000_000;
const nanosPerMicro = 1_000;

/** Reads the groups at `path`. */
export function readStats(hierarchies: readonly Hierarchy[], path: string): CgroupStats {
  const find = (controller: string): Place => {
    const found =
      hierarchies.find(({ version, controllers }) => version === 1 && controllers.includes(controller)) ??
      hierarchies.find(({ version }) => version === 2);
    return found && { folder: `${found.mountPoint}${path}`, v1: found.version === 1 };
  };
  return {
    memory: readMemory(find('memory')),
    cpu: readCpu(find('cpuacct'), find('cpu')),
    pids: readPids(find('pids')),
    blockDevices: readBlockIo(find('blkio')),
  };
}

type Place = { readonly folder: string; readonly v1: boolean } | undefined;

function readMemory(place: Place): MemoryUsage | undefined {
  if (!place) return undefined;
  const { folder, v1 } = place;
  const usageBytes = readNumber(`${folder}/${v1 ? 'memory.usage_in_bytes' : 'memory.current'}`);
  if (usageBytes === undefined) return undefined;
  const stats = readKeys(`${folder}/memory.stat`);
  const limit = readNumber(`${folder}/${v1 ? 'memory.limit_in_bytes' : 'memory.max'}`);
  return {
    usageBytes,
    workingBytes: Math.max(0, usageBytes - (stats.get(v1 ? 'total_inactive_file' : 'inactive_file') ?? 0)),
    limitBytes: limit !== undefined && limit < unlimitedV1 ? limit : undefined,
    maxUsageBytes: readNumber(`${folder}/${v1 ? 'memory.max_usage_in_bytes' : 'memory.peak'}`),
    failCount: v1 ? readNumber(`${folder}/memory.failcnt`) : undefined,
    stats,
  };
}

function readCpu(usage: Place, cpu: Place): CpuUsage | undefined {
  if (!usage || !cpu) return undefined;
  const stat = readKeys(`${cpu.folder}/cpu.stat`);
  const counted = usage.v1 ? readCpuacct(usage.folder) : fromCpuStat(stat);
  if (counted === undefined) return undefined;
  return {
    ...counted,
    periods: stat.get('nr_periods') ?? 0,
    throttledPeriods: stat.get('nr_throttled') ?? 0,
    throttledNanos: stat.get('throttled_time') ?? (stat.get('throttled_usec') ?? 0) * nanosPerMicro,
  };
}

type Counted = Pick<CpuUsage, 'usageNanos' | 'userNanos' | 'kernelNanos' | 'perCpuNanos'>;

function readCpuacct(folder: string): Counted | undefined {
  const usageNanos = readNumber(`${folder}/cpuacct.usage`);
  if (usageNanos === undefined) return undefined;
  const ticks = readKeys(`${folder}/cpuacct.stat`);
  const perCpu = readIfThere(`${folder}/cpuacct.usage_percpu`)?.trim() ?? '';
  return {
    usageNanos,
    userNanos: (ticks.get('user') ?? 0) * nanosPerTick,
    kernelNanos: (ticks.get('system') ?? 0) * nanosPerTick,
    perCpuNanos: perCpu === '' ? [] : perCpu.split(/\s+/).map(Number),
  };
}

function fromCpuStat(stat: ReadonlyMap<string, number>): Counted | undefined {
  const nanos = (key: string) => (stat.get(key) ?? 0) * nanosPerMicro;
  if (!stat.has('usage_usec')) return undefined;
  return {
    usageNanos: nanos('usage_usec'),
    userNanos: nanos('user_usec'),
    kernelNanos: nanos('system_usec'),
    perCpuNanos: [],
  };
}

function readPids(place: Place): PidsUsage | undefined {
  const current = place && readNumber(`${place.folder}/pids.current`);
  return current === undefined ? undefined : { current, limit: readNumber(`${place?.folder}/pids.max`) };
}

function readBlockIo(place: Place): readonly BlockDeviceUsage[] {
  if (!place) return [];
  const { folder, v1 } = place;
  if (!v1) return parseIoStat(readIfThere(`${folder}/io.stat`) ?? '');
  const read = (file: string) => readIfThere(`${folder}/blkio.throttle.${file}_recursive`) ?? '';
  return parseBlkio(read('io_service_bytes'), read('io_serviced'));
}

/** A file of `key value` lines; nothing when it is not there. */
function readKeys(path: string): Map<string, number> {
  const keys = new Map<string, number>();
  for (const line of (readIfThere(path) ?? '').split('\n')) {
    const space = line.indexOf(' ');
    if (space > 0) keys.set(line.slice(0, space), Number(line.slice(space + 1)));
  }
  return keys;
}
