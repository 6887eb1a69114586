import type { StreamStatsResponse } from '@flotilla/proto/flotilla/v1/container';
import { formatBinarySize, formatSize, shortId } from './human.ts';
import type { Column, Row } from './table.ts';

export const statsColumns: readonly Column[] = [
  { field: 'ID', title: 'CONTAINER ID' },
  { field: 'Name', title: 'NAME' },
  { field: 'CPUPerc', title: 'CPU %' },
  { field: 'MemUsage', title: 'MEM USAGE / LIMIT' },
  { field: 'MemPerc', title: 'MEM %' },
  { field: 'NetIO', title: 'NET I/O' },
  { field: 'BlockIO', title: 'BLOCK I/O' },
  { field: 'PIDs', title: 'PIDS' },
];

const unknown = '--';

/** What `stats` says of a container, in Docker's fields. */
export function statsRow(stats: StreamStatsResponse, truncate: boolean): Row {
  const id = truncate ? shortId(stats.containerId) : stats.containerId;
  const names = { ID: id, Container: id, Name: stats.name };
  if (!stats.running) {
    const pair = `${unknown} / ${unknown}`;
    const shares = { CPUPerc: unknown, MemPerc: unknown, PIDs: unknown };
    return { ...names, ...shares, MemUsage: pair, NetIO: pair, BlockIO: pair };
  }
  // Without a limit of its own a container may use what the host has.
  const hostBytes = stats.memory?.hostBytes ?? 0n;
  const ownLimit = stats.memoryLimitBytes;
  const limit = ownLimit === 0n || (hostBytes > 0n && ownLimit > hostBytes) ? hostBytes : ownLimit;
  const share = limit === 0n ? 0 : (Number(stats.memoryUsageBytes) / Number(limit)) * 100;
  return {
    ...names,
    CPUPerc: `${cpuPercent(stats).toFixed(2)}%`,
    MemUsage: `${formatBinarySize(stats.memoryUsageBytes)} / ${formatBinarySize(limit)}`,
    MemPerc: `${share.toFixed(2)}%`,
    NetIO: `${formatSize(stats.networkReceivedBytes)} / ${formatSize(stats.networkSentBytes)}`,
    BlockIO: `${formatSize(stats.blockReadBytes)} / ${formatSize(stats.blockWrittenBytes)}`,
    PIDs: String(stats.pids),
  };
}

/** Of one processor, so that two full ones are 200; 0 where there is no sample before. */
export function cpuPercent({ cpu, previousCpu }: StreamStatsResponse): number {
  if (cpu === undefined || previousCpu === undefined) return 0;
  const used = Number(cpu.usageNanos - previousCpu.usageNanos);
  const passed = Number(cpu.hostNanos - previousCpu.hostNanos);
  return used > 0 && passed > 0 ? (used / passed) * cpu.onlineCpus * 100 : 0;
}
