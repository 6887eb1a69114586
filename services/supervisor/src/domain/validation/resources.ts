import { invalidField } from '@flotilla/errors';
import type { Resources } from '../container-config.ts';
import type { HostFacts } from '../host-facts.ts';
import { checkCpuList, parseCpuList } from './cpu-list.ts';

const leastMemoryBytes = 6n << 20n;
const nanosPerCpu = 1_000_000_000n;
/** More does not fit a JSON number, and no host has it. */
const largest = BigInt(Number.MAX_SAFE_INTEGER);

/** INVALID_FIELD for limits that the kernel would refuse or that contradict each other. */
export function checkResources(resources: Resources, facts: HostFacts): void {
  checkMemory(resources);
  checkCpu(resources, facts);
  between('pids_limit', resources.pidsLimit, -1n, 4_194_304n);
  zeroOrBetween('blkio_weight', BigInt(resources.blkioWeight), 10n, 1000n);
}

function checkMemory(resources: Resources): void {
  const { memoryBytes: memory, memorySwapBytes: swap, memoryReservationBytes: reservation } = resources;
  zeroOrBetween('memory_bytes', memory, leastMemoryBytes, largest);
  zeroOrBetween('memory_reservation_bytes', reservation, leastMemoryBytes, largest);
  between('memory_swap_bytes', swap, -1n, largest);
  if (swap > 0n && memory === 0n) throw invalidField('resources.memory_swap_bytes', 'given together with memory_bytes');
  if (swap > 0n && swap < memory)
    throw invalidField('resources.memory_swap_bytes', 'at least memory_bytes', String(swap));
  if (memory > 0n && reservation > memory) {
    throw invalidField('resources.memory_reservation_bytes', 'at most memory_bytes', String(reservation));
  }
  if (resources.memorySwappiness !== undefined) {
    between('memory_swappiness', BigInt(resources.memorySwappiness), 0n, 100n);
  }
}

function checkCpu(resources: Resources, { onlineCpus, memoryNodes }: HostFacts): void {
  const { nanoCpus, cpuQuota, cpuPeriod, cpuShares } = resources;
  const cpus = BigInt(parseCpuList(onlineCpus, 'online cpus').size);
  zeroOrBetween('nano_cpus', nanoCpus, nanosPerCpu / 100n, cpus * nanosPerCpu);
  if (nanoCpus > 0n && (cpuQuota !== 0n || cpuPeriod !== 0n)) {
    throw invalidField('resources.nano_cpus', 'given without cpu_quota and cpu_period', String(nanoCpus));
  }
  zeroOrBetween('cpu_period', cpuPeriod, 1_000n, 1_000_000n);
  if (cpuQuota !== -1n) zeroOrBetween('cpu_quota', cpuQuota, 1_000n, largest);
  zeroOrBetween('cpu_shares', cpuShares, 2n, 262_144n);
  if (resources.cpusetCpus !== '') checkCpuList(resources.cpusetCpus, onlineCpus, 'resources.cpuset_cpus');
  if (resources.cpusetMems !== '') checkCpuList(resources.cpusetMems, memoryNodes, 'resources.cpuset_mems');
}

function zeroOrBetween(field: string, value: bigint, least: bigint, most: bigint): void {
  if (value !== 0n) between(field, value, least, most);
}

function between(field: string, value: bigint, least: bigint, most: bigint): void {
  if (value >= least && value <= most) return;
  throw invalidField(`resources.${field}`, most === largest ? `at least ${least}` : `${least} to ${most}`, `${value}`);
}

/** What the user should know: limits that this host cannot hold, in Docker's words. */
export function resourceWarnings(resources: Resources, { controllers, swapLimit, cgroupMode }: HostFacts): string[] {
  const warnings: string[] = [];
  const lacks = (wanted: boolean, controller: string, what: string) => {
    if (wanted && !controllers.has(controller)) {
      warnings.push(`Your kernel does not support ${what} or the cgroup is not mounted. Limitation discarded.`);
    }
  };
  const { memoryBytes, memorySwapBytes, nanoCpus, cpuQuota, pidsLimit, blkioWeight, oomKillDisable } = resources;
  lacks(memoryBytes > 0n, 'memory', 'memory limit capabilities');
  lacks(pidsLimit > 0n, 'pids', 'PIDs limit capabilities');
  lacks(nanoCpus > 0n || cpuQuota > 0n, 'cpu', 'CPU CFS quota');
  lacks(resources.cpusetCpus !== '' || resources.cpusetMems !== '', 'cpuset', 'cpuset');
  lacks(blkioWeight > 0, cgroupMode === 'v2' ? 'io' : 'blkio', 'Block I/O weight');
  if (memorySwapBytes > 0n && !swapLimit && controllers.has('memory')) {
    warnings.push(
      'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
    );
  }
  if (oomKillDisable && cgroupMode === 'v2') {
    warnings.push('Your kernel does not support OomKillDisable. OomKillDisable discarded.');
  }
  if (oomKillDisable && memoryBytes === 0n) {
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    );
  }
  return warnings;
}
