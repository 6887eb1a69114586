import { readIfThere, readKey, readNumber } from './group-files.ts';
import type { Hierarchy } from './hierarchies.ts';

/** What a container uses; a field is absent where the host does not count it. */
export interface CgroupStats {
  /** Page cache that can be given back at once is not counted, as in `docker stats`. */
  readonly memoryBytes?: number | undefined;
  readonly memoryLimitBytes?: number | undefined;
  readonly cpuUsageNano?: number | undefined;
  readonly cpuThrottledPeriods?: number | undefined;
  readonly pids?: number | undefined;
  readonly pidsLimit?: number | undefined;
}

/** A v1 limit this high is none. */
const unlimitedV1 = 2 ** 62;

/** Reads the groups at `path`. */
export function readStats(hierarchies: readonly Hierarchy[], path: string): CgroupStats {
  const find = (controller: string): { readonly folder: string; readonly v1: boolean } | undefined => {
    const found =
      hierarchies.find(({ version, controllers }) => version === 1 && controllers.includes(controller)) ??
      hierarchies.find(({ version }) => version === 2);
    return found && { folder: `${found.mountPoint}${path}`, v1: found.version === 1 };
  };
  return { ...readMemory(find('memory')), ...readCpu(find('cpuacct'), find('cpu')), ...readPids(find('pids')) };
}

type Place = { readonly folder: string; readonly v1: boolean } | undefined;

function readMemory(place: Place): CgroupStats {
  if (!place) return {};
  const { folder, v1 } = place;
  const used = readNumber(`${folder}/${v1 ? 'memory.usage_in_bytes' : 'memory.current'}`);
  const inactive = readKey(readIfThere(`${folder}/memory.stat`), v1 ? 'total_inactive_file' : 'inactive_file') ?? 0;
  const limit = readNumber(`${folder}/${v1 ? 'memory.limit_in_bytes' : 'memory.max'}`);
  return {
    memoryBytes: used === undefined ? undefined : Math.max(0, used - inactive),
    memoryLimitBytes: limit !== undefined && limit < unlimitedV1 ? limit : undefined,
  };
}

function readCpu(usage: Place, cpu: Place): CgroupStats {
  if (!usage || !cpu) return {};
  const stat = readIfThere(`${cpu.folder}/cpu.stat`);
  const microseconds = readKey(stat, 'usage_usec');
  const nanoseconds = microseconds === undefined ? undefined : microseconds * 1000;
  return {
    cpuUsageNano: usage.v1 ? readNumber(`${usage.folder}/cpuacct.usage`) : nanoseconds,
    cpuThrottledPeriods: readKey(stat, 'nr_throttled'),
  };
}

function readPids(place: Place): CgroupStats {
  if (!place) return {};
  return { pids: readNumber(`${place.folder}/pids.current`), pidsLimit: readNumber(`${place.folder}/pids.max`) };
}
