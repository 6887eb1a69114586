import { invalidField } from '@flotilla/errors';
import type { LinuxResources } from '@flotilla/oci';
import type { Resources } from './container-config.ts';

const none: Resources = {
  memoryBytes: 0n,
  memorySwapBytes: 0n,
  memoryReservationBytes: 0n,
  nanoCpus: 0n,
  cpuShares: 0n,
  cpuQuota: 0n,
  cpuPeriod: 0n,
  cpusetCpus: '',
  cpusetMems: '',
  pidsLimit: 0n,
  blkioWeight: 0,
  oomKillDisable: false,
};

/**
 * Limits with changes put over them: what is 0, empty or absent stays. As in Docker the sum of memory and swap stays as it
 * is, too, be it the default of twice the memory, and must be changed together with a memory limit that is above it.
 */
export function mergeResources(current: Resources = none, changes: Resources): Resources {
  if (changes.oomKillDisable) throw invalidField('resources.oom_kill_disable', 'left out: it cannot be changed');
  const merged = { ...current };
  const target = merged as Record<string, unknown>;
  for (const [name, value] of Object.entries(changes)) if (isGiven(name, value)) target[name] = value;
  if (changes.memoryBytes > 0n && changes.memorySwapBytes === 0n) {
    merged.memorySwapBytes = swapOf(current);
    if (merged.memorySwapBytes > 0n && changes.memoryBytes > merged.memorySwapBytes) {
      const expected = `at most ${merged.memorySwapBytes}, the limit of memory and swap together, or given with memory_swap_bytes`;
      throw invalidField('resources.memory_bytes', expected, String(changes.memoryBytes));
    }
  }
  return merged;
}

function isGiven(name: string, value: unknown): boolean {
  if (name === 'memorySwappiness') return value !== undefined;
  return value !== 0n && value !== 0 && value !== '' && value !== false && value !== undefined;
}

function swapOf({ memoryBytes, memorySwapBytes }: Resources): bigint {
  return memorySwapBytes === 0n ? memoryBytes * 2n : memorySwapBytes;
}

/** Of the runtime's form of all limits the parts that are to be written because of a change. */
export function changedParts(all: LinuxResources, changes: Resources): LinuxResources {
  const { memoryBytes, memorySwapBytes, memoryReservationBytes, memorySwappiness } = changes;
  const memory = memoryBytes !== 0n || memorySwapBytes !== 0n || memoryReservationBytes !== 0n;
  const time = changes.nanoCpus !== 0n || changes.cpuQuota !== 0n || changes.cpuPeriod !== 0n;
  const { quota, period, shares, cpus, mems } = all.cpu ?? {};
  const cpu = {
    ...(time && quota !== undefined ? { quota } : {}),
    ...(time && period !== undefined ? { period } : {}),
    ...(changes.cpuShares !== 0n && shares !== undefined ? { shares } : {}),
    ...(changes.cpusetCpus !== '' && cpus !== undefined ? { cpus } : {}),
    ...(changes.cpusetMems !== '' && mems !== undefined ? { mems } : {}),
  };
  return {
    ...((memory || memorySwappiness !== undefined) && all.memory !== undefined ? { memory: all.memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(changes.pidsLimit !== 0n && all.pids !== undefined ? { pids: all.pids } : {}),
    ...(changes.blkioWeight !== 0 && all.blockIO !== undefined ? { blockIO: all.blockIO } : {}),
  };
}
