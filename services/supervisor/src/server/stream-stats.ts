import {
  BlockDeviceStats,
  CpuStats,
  LinkStats,
  MemoryStats,
  type StreamStatsRequest,
  StreamStatsResponse,
} from '@flotilla/proto/flotilla/v1/container';
import type { CallContext } from '@flotilla/rpc';
import type { BlockDeviceUsage, CpuUsage, HostUsage, LinkUsage, MemoryUsage } from '../domain/observation.ts';
import type { Sample, StatsSampler } from '../domain/stats-sampler.ts';

/** ContainerService.StreamStats: decode, call, encode. */
export async function* streamStats(
  sampler: StatsSampler,
  { containers, oneShot, single, all }: StreamStatsRequest,
  { signal }: CallContext,
): AsyncGenerator<StreamStatsResponse> {
  const mode = oneShot ? 'once' : single ? 'single' : 'stream';
  for await (const sample of sampler.samples({ containers, all, mode }, signal)) yield statsToProto(sample);
}

/** What does not run has a name and a time. */
export function statsToProto({ record, timeUnixNano, host, usage, previous }: Sample): StreamStatsResponse {
  const { containerId, name } = record;
  const message = StreamStatsResponse.create({ containerId, name, timeUnixNano, running: usage !== undefined });
  if (usage === undefined) return message;
  const { memory, cpu, pids, links, blockDevices } = usage;
  const sum = (of: (link: LinkUsage) => number) => count(links.reduce((total, link) => total + of(link), 0));
  return {
    ...message,
    cpuUsageNanos: count(cpu?.usageNanos),
    memoryUsageBytes: count(memory?.workingBytes),
    memoryLimitBytes: count(memory?.limitBytes),
    pids: count(pids?.current),
    pidsLimit: count(pids?.limit),
    networkReceivedBytes: sum(({ receivedBytes }) => receivedBytes),
    networkSentBytes: sum(({ sentBytes }) => sentBytes),
    blockReadBytes: operationBytes(blockDevices, 'read'),
    blockWrittenBytes: operationBytes(blockDevices, 'write'),
    cpu: cpu && cpuToProto(cpu, host),
    previousCpu: previous && cpuToProto(previous.cpu, previous.host),
    previousTimeUnixNano: previous?.timeUnixNano ?? 0n,
    memory: memory && memoryToProto(memory, host),
    links: links.map(linkToProto),
    blockDevices: blockDevices.map(blockDeviceToProto),
  };
}

function cpuToProto(cpu: CpuUsage, { cpuNanos, onlineCpus }: HostUsage): CpuStats {
  return CpuStats.create({
    usageNanos: count(cpu.usageNanos),
    userNanos: count(cpu.userNanos),
    kernelNanos: count(cpu.kernelNanos),
    perCpuNanos: cpu.perCpuNanos.map(count),
    periods: count(cpu.periods),
    throttledPeriods: count(cpu.throttledPeriods),
    throttledNanos: count(cpu.throttledNanos),
    hostNanos: count(cpuNanos),
    onlineCpus,
  });
}

function memoryToProto({ usageBytes, maxUsageBytes, failCount, stats }: MemoryUsage, host: HostUsage): MemoryStats {
  return MemoryStats.create({
    usageBytes: count(usageBytes),
    maxUsageBytes: count(maxUsageBytes),
    failCount: count(failCount),
    stats: counts(stats),
    hostBytes: count(host.memoryBytes),
  });
}

function linkToProto(link: LinkUsage): LinkStats {
  return LinkStats.create({
    name: link.name,
    receivedBytes: count(link.receivedBytes),
    receivedPackets: count(link.receivedPackets),
    receivedErrors: count(link.receivedErrors),
    receivedDropped: count(link.receivedDropped),
    sentBytes: count(link.sentBytes),
    sentPackets: count(link.sentPackets),
    sentErrors: count(link.sentErrors),
    sentDropped: count(link.sentDropped),
  });
}

function blockDeviceToProto({ major, minor, bytes, operations }: BlockDeviceUsage): BlockDeviceStats {
  return BlockDeviceStats.create({ major, minor, bytes: counts(bytes), operations: counts(operations) });
}

function operationBytes(devices: readonly BlockDeviceUsage[], operation: string): bigint {
  return count(devices.reduce((total, { bytes }) => total + (bytes.get(operation) ?? 0), 0));
}

function counts(values: ReadonlyMap<string, number>): Record<string, bigint> {
  return Object.fromEntries([...values].map(([key, value]) => [key, count(value)]));
}

/** A counter of the kernel's; 0 where it has none. */
function count(value: number | undefined): bigint {
  return BigInt(Math.max(Math.trunc(value ?? 0), 0));
}
