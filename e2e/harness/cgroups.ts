import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from './engine.ts';

/** The host has cgroup v2 alone. */
export const pureV2: boolean = existsSync('/sys/fs/cgroup/cgroup.controllers');

/** Files of a container's cgroups: what they are called in v1 (behind their controller) and in v2. */
const files = {
  memoryLimit: ['memory', 'memory.limit_in_bytes', 'memory.max'],
  pidsLimit: ['pids', 'pids.max', 'pids.max'],
  cpuUsage: ['cpuacct', 'cpuacct.usage', 'cpu.stat'],
} as const;

function path(base: string, group: string, key: keyof typeof files): string {
  const [controller, v1, v2] = files[key];
  return pureV2 ? join(base, group, v2) : join(base, controller, group, v1);
}

/** The same file for the engine's host, and for the container, which sees its own group as the root. */
export function limitPaths(engine: Engine, id: string, key: keyof typeof files): { host: string; inside: string } {
  const base = '/sys/fs/cgroup';
  return { host: path(base, `${engine.folders.instance}/${id}`, key), inside: path(base, '', key) };
}

/** Whether the kernel has frozen a container: by the group of v2 where there is one, else by v1's freezer. */
export function isFrozen(engine: Engine, id: string): boolean {
  const group = `${engine.folders.instance}/${id}`;
  const candidates = [`${group}/cgroup.events`, `unified/${group}/cgroup.events`, `freezer/${group}/freezer.state`];
  const file = candidates.map((path) => join('/sys/fs/cgroup', path)).find((path) => existsSync(path));
  return file !== undefined && /^FROZEN$|^frozen 1$/m.test(readFileSync(file, 'utf8'));
}

/** Processors that a container may use, from its cgroup's quota and period. */
export function cpuLimit(read: (path: string) => string, group: string): number {
  const [quota, period] = pureV2
    ? read(join('/sys/fs/cgroup', group, 'cpu.max'))
        .trim()
        .split(' ')
    : ['cpu.cfs_quota_us', 'cpu.cfs_period_us'].map((name) => read(join('/sys/fs/cgroup/cpu', group, name)).trim());
  return Number(quota) / Number(period);
}

/** Processor time that a container has used, milliseconds. */
export function cpuUsedMs(engine: Engine, id: string): number {
  const text = readFileSync(limitPaths(engine, id, 'cpuUsage').host, 'utf8');
  return pureV2 ? Number(text.match(/^usage_usec (\d+)$/m)?.[1]) / 1e3 : Number(text) / 1e6;
}
