import { accessSync, constants, existsSync, globSync, readFileSync, statfsSync, statSync } from 'node:fs';
import os from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import type { Paths } from '@flotilla/config/paths';
import { formatBinarySize } from '../format/human.ts';
import { type Check, ok, problem, warning } from './check.ts';

/** mount_setattr(2) and openat2(2) are all there from this release on. */
const oldestKernel = [5, 12] as const;
/** statfs(2). */
const OVERLAYFS_MAGIC = 0x794c_7630;
const leastFreeBytes = 1n << 30n;

/** What the kernel and the host must have, read from the host's own files. */
export function checkHost(paths: Paths): Check[] {
  return [
    checkUser(),
    checkKernel(os.release()),
    checkOverlay(),
    checkNamespaces(),
    checkSeccomp(),
    checkForwarding(),
    ...checkCgroups(),
    checkLibrary('libseccomp.so.2', 'libseccomp2'),
    checkLibrary('libnftables.so.1', 'libnftables1'),
    checkTini(),
    ...[paths.root, paths.run].map(checkFolder),
    checkDisk(paths.root),
  ];
}

function checkUser(): Check {
  if (process.getuid?.() === 0) return ok('user', 'root');
  return problem('user', `uid ${process.getuid?.()}`, 'run the engine and this check as root');
}

/** Exported for its table of releases. */
export function checkKernel(release: string): Check {
  const [major = 0, minor = 0] = release.split('.').map(Number);
  const [oldestMajor, oldestMinor] = oldestKernel;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return ok('kernel', release);
  return problem('kernel', release, `use Linux ${oldestMajor}.${oldestMinor} or later`);
}

function checkOverlay(): Check {
  const known = /\boverlay\b/.test(readFileSync('/proc/filesystems', 'utf8'));
  if (known) return ok('overlayfs', 'known to the kernel');
  if (globSync(`/lib/modules/${os.release()}/**/overlay.ko*`).length > 0) return ok('overlayfs', 'a module');
  return problem('overlayfs', 'unknown to the kernel', 'load it: modprobe overlay');
}

function checkNamespaces(): Check {
  const wanted = ['mnt', 'uts', 'ipc', 'pid', 'net', 'cgroup'];
  const missing = wanted.filter((name) => !existsSync(`/proc/self/ns/${name}`));
  if (missing.length === 0) return ok('namespaces', wanted.join(' '));
  return problem('namespaces', `missing: ${missing.join(' ')}`, 'use a kernel with CONFIG_NAMESPACES and its parts');
}

function checkSeccomp(): Check {
  const path = '/proc/sys/kernel/seccomp/actions_avail';
  if (existsSync(path)) return ok('seccomp', readFileSync(path, 'utf8').trim());
  return warning(
    'seccomp',
    'not in the kernel',
    'use a kernel with CONFIG_SECCOMP_FILTER, or --security-opt seccomp=unconfined',
  );
}

function checkForwarding(): Check {
  const on = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim() === '1';
  if (on) return ok('IP forwarding', 'on');
  return warning(
    'IP forwarding',
    'off',
    'the network service turns it on with the first bridge; or: sysctl net.ipv4.ip_forward=1',
  );
}

function checkCgroups(): Check[] {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  const legacy = mounts.filter(([, , type]) => type === 'cgroup').map(([, target = '']) => target);
  const unified = mounts.find(([, , type]) => type === 'cgroup2')?.[1];
  const mode = legacy.length === 0 ? 'v2' : unified === undefined ? 'v1' : 'hybrid';
  const there = unified === undefined ? [] : controllersOf(unified);
  const all = [...there, ...legacy.flatMap((target) => target.split('/').at(-1)?.split(',') ?? [])];
  const missing = ['memory', 'cpu', 'cpuset', 'pids', 'devices', 'freezer'].filter(
    (name) => !all.includes(name) && !(mode === 'v2' && ['devices', 'freezer'].includes(name)),
  );
  if (legacy.length === 0 && unified === undefined) {
    return [problem('cgroups', 'not mounted', 'mount -t cgroup2 none /sys/fs/cgroup')];
  }
  const controllers =
    missing.length === 0
      ? ok('cgroup controllers', all.filter((name) => name !== '').join(' '))
      : warning(
          'cgroup controllers',
          `missing: ${missing.join(' ')}`,
          'boot with these controllers: their limits do not hold',
        );
  return [ok('cgroups', mode), controllers];
}

function controllersOf(folder: string): string[] {
  try {
    return readFileSync(join(folder, 'cgroup.controllers'), 'utf8').trim().split(' ');
  } catch {
    return [];
  }
}

function checkLibrary(file: string, debianPackage: string): Check {
  const folders = [
    '/lib',
    '/usr/lib',
    '/lib64',
    '/usr/lib64',
    '/lib/*-linux-gnu',
    '/usr/lib/*-linux-gnu',
    '/usr/local/lib',
  ];
  const [found] = globSync(folders.map((folder) => join(folder, file)));
  if (found !== undefined) return ok(file, found);
  return problem(file, 'not installed', `apt-get install ${debianPackage}`);
}

function checkTini(): Check {
  const path = '/usr/bin/tini-static';
  if (existsSync(path)) return ok('tini', path);
  return warning('tini', 'not installed', 'apt-get install tini: --init needs it');
}

/** Exported for its test. */
export function checkFolder(path: string): Check {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return warning(path, 'does not exist', "it is made by 'npm run up'");
  const mode = (found.mode & 0o777).toString(8);
  if (!found.isDirectory()) return problem(path, 'is no folder', `move it out of the way: ${path}`);
  if (found.uid !== process.getuid?.()) return problem(path, `belongs to uid ${found.uid}`, `chown root: ${path}`);
  if ((found.mode & 0o077) !== 0) return problem(path, `mode ${mode}: others may enter`, `chmod 0700 ${path}`);
  try {
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch {
    return problem(path, `mode ${mode}: not writable`, `chmod 0700 ${path}`);
  }
  return ok(path, `mode ${mode}`);
}

function checkDisk(root: string): Check {
  let path = root;
  while (!existsSync(path)) path = dirname(path);
  const { type, bavail, bsize } = statfsSync(path, { bigint: true });
  if (Number(type) === OVERLAYFS_MAGIC) {
    return problem(
      'storage',
      `${path} is on an overlay`,
      'overlays cannot be stacked so: let FLOTILLA_ROOT be on another file system',
    );
  }
  const free = bavail * bsize;
  if (free < leastFreeBytes) return warning('storage', `${formatBinarySize(free)} free in ${path}`, 'make room there');
  return ok('storage', `${formatBinarySize(free)} free in ${path}`);
}
