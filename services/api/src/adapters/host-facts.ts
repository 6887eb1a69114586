import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';

/** What the host says of itself, read once. */
export interface HostFacts {
  readonly kernelVersion: string;
  readonly operatingSystem: string;
  /** `x86_64`. */
  readonly architecture: string;
  readonly cpus: number;
  readonly memoryBytes: bigint;
  readonly hostname: string;
  /** `v1`, `hybrid` or `v2`. */
  readonly cgroupMode: string;
  /** Docker's words for controllers that are not there. */
  readonly warnings: readonly string[];
}

export function readHostFacts(): HostFacts {
  const cgroupMode = readCgroupMode();
  return {
    kernelVersion: os.release(),
    operatingSystem: readOperatingSystem(),
    architecture: os.machine(),
    cpus: os.cpus().length,
    memoryBytes: BigInt(os.totalmem()),
    hostname: os.hostname(),
    cgroupMode,
    warnings: missingControllers(cgroupMode),
  };
}

/** PRETTY_NAME of os-release(5). */
function readOperatingSystem(): string {
  for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
    if (!existsSync(path)) continue;
    const line = /^PRETTY_NAME=(.*)$/m.exec(readFileSync(path, 'utf8'))?.[1];
    if (line !== undefined) return line.replace(/^(["'])(.*)\1$/, '$2');
  }
  return os.type();
}

/** By what is mounted: cgroups(7). */
function readCgroupMode(): string {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  const has = (type: string) => mounts.some((line) => line.split(' ')[2] === type);
  if (!has('cgroup')) return 'v2';
  return has('cgroup2') ? 'hybrid' : 'v1';
}

function missingControllers(cgroupMode: string): string[] {
  const there = cgroupMode === 'v2' ? unifiedControllers() : enabledControllers();
  const wanted = { memory: 'memory limit', cpu: 'cpu limit', cpuset: 'cpuset', pids: 'pids limit' };
  return Object.entries(wanted)
    .filter(([controller]) => !there.includes(controller))
    .map(([, words]) => `No ${words} support`);
}

function unifiedControllers(): string[] {
  return readFileSync('/sys/fs/cgroup/cgroup.controllers', 'utf8').trim().split(' ');
}

function enabledControllers(): string[] {
  return readFileSync('/proc/cgroups', 'utf8')
    .split('\n')
    .map((line) => line.split('\t'))
    .filter(([, , , enabled]) => enabled === '1')
    .map(([name = '']) => name);
}
