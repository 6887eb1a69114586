import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { hostname, release } from 'node:os';
import { delimiter, join } from 'node:path';
import process from 'node:process';
import type { HostFacts } from '../domain/host-facts.ts';

const initPath = '/usr/bin/tini-static';
const cgroupRoot = '/sys/fs/cgroup';

/** Reads what the rules need to know of this host. */
export function readHostFacts(): HostFacts {
  const { mode, controllers } = readCgroups();
  return {
    arch: process.arch,
    kernelRelease: release(),
    cgroupMode: mode,
    controllers,
    swapLimit: hasSwapLimit(mode),
    onlineCpus: readList('/sys/devices/system/cpu/online'),
    memoryNodes: readList('/sys/devices/system/node/online'),
    runtimes: findRuntimes(),
    initPath: existsSync(initPath) ? initPath : undefined,
    selinux: existsSync('/sys/fs/selinux/enforce'),
    hostname: hostname(),
  };
}

/** cgroups(7): `cgroup2` at the root is v2; elsewhere beside v1 hierarchies, hybrid. */
function readCgroups(): { mode: HostFacts['cgroupMode']; controllers: ReadonlySet<string> } {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const [type = '', , options = ''] = after.split(' ');
      return { target: before.split(' ')[4] ?? '', type, options: options.split(',') };
    });
  if (mounts.some(({ type, target }) => type === 'cgroup2' && target === cgroupRoot)) {
    const words = readFileSync(join(cgroupRoot, 'cgroup.controllers'), 'utf8').trim().split(/\s+/);
    return { mode: 'v2', controllers: new Set([...words, 'devices', 'freezer']) };
  }
  const v1 = mounts.filter(({ type }) => type === 'cgroup').flatMap(({ options }) => options);
  const v2 = mounts.find(({ type }) => type === 'cgroup2');
  const unified = v2 === undefined ? [] : readOr(join(v2.target, 'cgroup.controllers'), '').trim().split(/\s+/);
  return { mode: v2 === undefined ? 'v1' : 'hybrid', controllers: new Set([...v1, ...unified]) };
}

function hasSwapLimit(mode: HostFacts['cgroupMode']): boolean {
  if (mode !== 'v2') return existsSync(join(cgroupRoot, 'memory/memory.memsw.limit_in_bytes'));
  return readdirSync(cgroupRoot, { withFileTypes: true }).some(
    (entry) => entry.isDirectory() && existsSync(join(cgroupRoot, entry.name, 'memory.swap.max')),
  );
}

function readList(path: string): string {
  return readOr(path, '0').trim() || '0';
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

function findRuntimes(): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of ['runc', 'crun']) {
    for (const folder of (process.env.PATH ?? '/usr/sbin:/usr/bin').split(delimiter)) {
      const path = join(folder, name);
      if (folder.startsWith('/') && existsSync(path) && !found.has(name)) found.set(name, path);
    }
  }
  return found;
}
