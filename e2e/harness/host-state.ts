import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What engines leave on a host, one text a thing. */
export interface HostState {
  readonly processes: readonly string[];
  readonly mounts: readonly string[];
  readonly links: readonly string[];
  readonly nftTables: readonly string[];
  readonly cgroups: readonly string[];
  readonly files: readonly string[];
}

/**
 * What belongs to some instance: the default one's name, a name that derives from a root folder, or a folder for
 * temporary files of ours.
 */
const anyInstance = /\b(flotilla|fl[-_][0-9a-f]{8})|\/fl(otilla)?-/;
const cgroupRoot = '/sys/fs/cgroup';

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // gone, or not readable: then there is nothing to see
  }
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** A process of ours carries the instance's folders in its environment, or is in one of the instance's cgroups. */
function processes(owns: (text: string) => boolean): string[] {
  return list('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      const folders = read(`/proc/${pid}/environ`)
        .split('\0')
        .filter((entry) => /^FLOTILLA_(ROOT|RUN)=/.test(entry));
      return folders.some(owns) || owns(read(`/proc/${pid}/cgroup`));
    })
    .map((pid) => `${pid} ${read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim()}`);
}

function cgroups(owns: (text: string) => boolean): string[] {
  const hierarchies = existsSync(join(cgroupRoot, 'cgroup.controllers'))
    ? [cgroupRoot]
    : list(cgroupRoot).map((name) => join(cgroupRoot, name));
  return hierarchies.flatMap((hierarchy) => foldersBelow(hierarchy)).filter((path) => owns(path));
}

function foldersBelow(path: string): string[] {
  let entries: readonly string[];
  try {
    entries = readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(path, entry.name));
  } catch {
    return [];
  }
  return entries.flatMap((entry) => [...foldersBelow(entry), entry]);
}

const lines = (text: string) => text.split('\n').filter((line) => line !== '');

/** What is there now of every instance, or of those for which `owns` says yes to a text that names them. */
export function readHostState(owns: (text: string) => boolean = (text) => anyInstance.test(text)): HostState {
  return {
    processes: processes(owns),
    mounts: lines(read('/proc/self/mountinfo')).filter(owns),
    links: lines(execFileSync('ip', ['-details', '-oneline', 'link', 'show']).toString())
      .filter(owns)
      .map((line) => line.split(' ')[1]?.replace(/[@:].*$/, '') ?? line),
    nftTables: lines(execFileSync('nft', ['list', 'tables']).toString()).filter(owns),
    cgroups: cgroups(owns),
    files: list(tmpdir())
      .map((name) => join(tmpdir(), name))
      .filter(owns),
  };
}

/** What is in `after` and was not in `before`, one text a thing, its kind first. */
export function leftovers(before: HostState, after: HostState): readonly string[] {
  return (Object.keys(after) as (keyof HostState)[]).flatMap((kind) => {
    const known = new Set(before[kind]);
    return after[kind].filter((one) => !known.has(one)).map((one) => `${kind}: ${one}`);
  });
}

/** Whether a text names an instance: its folder, its name, or the name as nft tables have it. */
export function namesInstance(folder: string, instance: string): (text: string) => boolean {
  const names = [folder, instance, instance.replaceAll('-', '_')];
  return (text) => names.some((name) => text.includes(name));
}

/** Takes away by force all that an instance left: for a test that was killed before it could clean up. */
export function sweepInstance(folder: string, instance: string): void {
  const owns = namesInstance(folder, instance);
  for (let round = 0; round < 5; round += 1) {
    const pids = readHostState(owns).processes.map((text) => Number(text.split(' ')[0]));
    if (pids.length === 0) break;
    for (const pid of pids) killQuietly(pid);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
  const state = readHostState(owns);
  for (const line of state.mounts.toReversed()) quietly('umount', ['-l', line.split(' ')[4] ?? '']);
  for (const link of state.links) quietly('ip', ['link', 'delete', link]);
  for (const table of state.nftTables) quietly('nft', ['delete', ...table.split(' ')]);
  for (const path of state.cgroups) {
    try {
      rmdirSync(path);
    } catch {
      // still has a process that is on its way out; the next sweep takes it
    }
  }
  rmSync(folder, { recursive: true, force: true });
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has gone by itself
  }
}

function quietly(command: string, args: readonly string[]): void {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
  } catch {
    // already gone with something else (a veth with its peer)
  }
}

/** Namespace inode of a process, `net:[4026531840]`, or undefined when it is gone. */
export function namespaceOf(pid: number, kind: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined;
  }
}
