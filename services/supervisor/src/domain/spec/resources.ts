import { defaultDeviceRules, privilegedDeviceRules } from '@flotilla/libcontainer/defaults';
import type { LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxResources } from '@flotilla/oci';
import type { ContainerConfig, Resources } from '../container-config.ts';
import type { HostFacts } from '../host-facts.ts';

const period = 100_000;
const nanosPerCpu = 1_000_000_000n;

/** The runtime's form of a container's limits. What this host cannot hold was said in a warning and is left out. */
export function buildResources(
  { resources, privileged }: ContainerConfig,
  deviceRules: readonly LinuxDeviceCgroup[],
  facts: HostFacts,
): LinuxResources {
  const devices = privileged ? privilegedDeviceRules : [...defaultDeviceRules, ...deviceRules];
  if (resources === undefined) return { devices };
  const { controllers, cgroupMode } = facts;
  const memory = controllers.has('memory') ? buildMemory(resources, facts) : {};
  const cpu = buildCpu(resources, controllers);
  const blockIo = resources.blkioWeight > 0 && controllers.has(cgroupMode === 'v2' ? 'io' : 'blkio');
  const pids = resources.pidsLimit !== 0n && controllers.has('pids');
  return {
    devices,
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    ...(pids ? { pids: { limit: Number(resources.pidsLimit) } } : {}),
    ...(blockIo ? { blockIO: { weight: resources.blkioWeight } } : {}),
  };
}

function buildMemory(resources: Resources, { swapLimit, cgroupMode }: HostFacts): LinuxMemory {
  const { memoryBytes, memorySwapBytes, memoryReservationBytes, memorySwappiness, oomKillDisable } = resources;
  // Docker: without a word about swap a container may use as much of it as of memory.
  const swap = memorySwapBytes === 0n ? memoryBytes * 2n : memorySwapBytes;
  return {
    ...(memoryBytes > 0n ? { limit: Number(memoryBytes) } : {}),
    ...(swapLimit && swap !== 0n && memoryBytes > 0n ? { swap: Number(swap) } : {}),
    ...(memoryReservationBytes > 0n ? { reservation: Number(memoryReservationBytes) } : {}),
    ...(memorySwappiness === undefined ? {} : { swappiness: memorySwappiness }),
    ...(oomKillDisable && cgroupMode !== 'v2' ? { disableOOMKiller: true } : {}),
  };
}

function buildCpu(resources: Resources, controllers: ReadonlySet<string>): LinuxCpu {
  const { nanoCpus, cpuShares, cpuQuota, cpuPeriod, cpusetCpus, cpusetMems } = resources;
  const fromNano = { quota: Number((nanoCpus * BigInt(period)) / nanosPerCpu), period };
  return {
    ...(controllers.has('cpu')
      ? {
          ...(nanoCpus > 0n ? fromNano : {}),
          ...(cpuQuota === 0n ? {} : { quota: Number(cpuQuota) }),
          ...(cpuPeriod === 0n ? {} : { period: Number(cpuPeriod) }),
          ...(cpuShares === 0n ? {} : { shares: Number(cpuShares) }),
        }
      : {}),
    ...(controllers.has('cpuset')
      ? {
          ...(cpusetCpus === '' ? {} : { cpus: cpusetCpus }),
          ...(cpusetMems === '' ? {} : { mems: cpusetMems }),
        }
      : {}),
  };
}
