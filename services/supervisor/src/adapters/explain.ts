import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { allCapabilities } from '@flotilla/libcontainer/defaults';
import type { ContainerRecord } from '../domain/container.ts';

export interface ExplainRow {
  name: string;
  value: string;
  source: string;
}

export interface ExplainSection {
  title: string;
  rows: ExplainRow[];
}

export interface ExplainInput {
  readonly container: ContainerRecord;
  readonly layers: { readonly layerPaths: readonly string[]; readonly upperPath: string };
  readonly shimAddress: string;
  readonly logPath: string;
}

const longestValue = 4096;
const mostProcesses = 200;
const cgroupFiles = [
  'cgroup.procs memory.limit_in_bytes memory.memsw.limit_in_bytes memory.usage_in_bytes memory.max memory.swap.max',
  'memory.current memory.events cpu.cfs_quota_us cpu.cfs_period_us cpu.shares cpu.max cpu.weight cpuset.cpus',
  'cpuset.cpus.effective pids.max pids.current blkio.weight io.weight freezer.state cgroup.events devices.list',
]
  .join(' ')
  .split(' ');

/** How a container is made, read from the kernel's own files: proc(5), namespaces(7), cgroups(7), capabilities(7). */
export function explainContainer(input: ExplainInput): ExplainSection[] {
  const { container, layers } = input;
  const initPid = container.task?.initPid ?? 0;
  const live =
    initPid > 0
      ? [
          { title: 'Processes', rows: processRows(initPid) },
          { title: 'Namespaces', rows: namespaceRows(initPid) },
          { title: 'Control groups', rows: cgroupRows(initPid) },
          { title: 'Privileges', rows: privilegeRows(initPid) },
          { title: 'Mounts', rows: mountRows(initPid) },
        ]
      : [];
  return [...live, { title: 'Layers', rows: layerRows(layers) }, { title: 'Owners', rows: ownerRows(input) }];
}

/** From the first ancestor down to init, then its descendants. */
function processRows(initPid: number): ExplainRow[] {
  const chain: number[] = [];
  for (let pid = initPid; pid > 0 && chain.length < 32; pid = Number(statusField(pid, 'PPid') ?? 0)) chain.unshift(pid);
  const rows = chain.map((pid) => processRow(pid, pid === initPid ? 'init' : 'ancestor'));
  const inside = descendants(initPid).slice(0, mostProcesses);
  return [...rows, ...inside.map((pid) => processRow(pid, 'descendant'))];
}

function processRow(pid: number, role: string): ExplainRow {
  const command = read(`/proc/${pid}/cmdline`)?.replaceAll('\0', ' ').trim() || statusField(pid, 'Name') || '(gone)';
  return { name: `${role} ${pid}`, value: command.slice(0, longestValue), source: `/proc/${pid}/cmdline` };
}

function descendants(pid: number): number[] {
  const children = (read(`/proc/${pid}/task/${pid}/children`) ?? '').trim().split(/\s+/).filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function namespaceRows(pid: number): ExplainRow[] {
  const folder = `/proc/${pid}/ns`;
  return listDir(folder)
    .filter((name) => !name.endsWith('_for_children'))
    .map((name) => {
      const source = join(folder, name);
      const inode = readLink(source);
      const shared = inode === readLink(`/proc/self/ns/${name}`) ? " (the host's)" : '';
      return { name, value: `${inode}${shared}`, source };
    });
}

function cgroupRows(pid: number): ExplainRow[] {
  const rows: ExplainRow[] = [];
  for (const line of (read(`/proc/${pid}/cgroup`) ?? '').trim().split('\n')) {
    const [id = '', controllers = '', path = ''] = line.split(':');
    const name = id === '0' ? 'unified' : controllers;
    rows.push({ name, value: path, source: `/proc/${pid}/cgroup` });
    const folder = cgroupFolder(id, controllers, path);
    if (folder === undefined) continue;
    for (const file of cgroupFiles) {
      const value = read(join(folder, file));
      if (value === undefined) continue;
      rows.push({ name: file, value: value.trim().slice(0, longestValue), source: join(folder, file) });
    }
  }
  return rows;
}

function cgroupFolder(id: string, controllers: string, path: string): string | undefined {
  const mounts = (read('/proc/self/mountinfo') ?? '').split('\n').map((line) => line.split(' - '));
  for (const [before = '', after = ''] of mounts) {
    const [type = '', , options = ''] = after.split(' ');
    const fits =
      id === '0'
        ? type === 'cgroup2'
        : type === 'cgroup' && controllers.split(',').every((controller) => options.split(',').includes(controller));
    if (fits) return join(before.split(' ')[4] ?? '/', path);
  }
  return undefined;
}

function privilegeRows(pid: number): ExplainRow[] {
  const source = `/proc/${pid}/status`;
  const seccomp = ['off', 'strict', 'filter'];
  const plain = ['Uid', 'Gid', 'Groups'].map((name) => ({ name, value: statusField(pid, name) ?? '', source }));
  const sets = ['CapBnd', 'CapPrm', 'CapEff', 'CapInh', 'CapAmb'].map((name) => ({
    name,
    value: capabilityNames(statusField(pid, name) ?? '0'),
    source,
  }));
  return [
    ...plain,
    ...sets,
    { name: 'NoNewPrivs', value: statusField(pid, 'NoNewPrivs') ?? '', source },
    { name: 'Seccomp', value: seccomp[Number(statusField(pid, 'Seccomp') ?? 0)] ?? 'unknown', source },
    {
      name: 'oom_score_adj',
      value: read(`/proc/${pid}/oom_score_adj`)?.trim() ?? '',
      source: `/proc/${pid}/oom_score_adj`,
    },
  ];
}

function capabilityNames(hex: string): string {
  const bits = BigInt(`0x${hex}`);
  const names = allCapabilities.filter((_, number) => ((bits >> BigInt(number)) & 1n) === 1n);
  return names.length === 0 ? 'none' : names.join(' ');
}

function mountRows(pid: number): ExplainRow[] {
  const source = `/proc/${pid}/mountinfo`;
  return (read(source) ?? '')
    .trim()
    .split('\n')
    .map((line) => {
      const [before = '', after = ''] = line.split(' - ');
      const fields = before.split(' ');
      const [type = '', from = '', options = ''] = after.split(' ');
      const value = `${type} ${from} ${fields[5] ?? ''} ${options}`.slice(0, longestValue);
      return { name: fields[4] ?? '', value, source };
    });
}

function layerRows({ layerPaths, upperPath }: ExplainInput['layers']): ExplainRow[] {
  const source = 'image service, GetSnapshotMounts';
  return [
    { name: 'writable', value: upperPath, source },
    ...layerPaths.filter((path) => path !== upperPath).map((value, at) => ({ name: `layer ${at + 1}`, value, source })),
  ];
}

function ownerRows({ container, shimAddress, logPath }: ExplainInput): ExplainRow[] {
  const of = (name: string, value: string, source: string) => ({ name, value, source });
  return [
    of('record, state, events', 'supervisor', `container ${container.containerId}`),
    of('image, layers, volumes', 'image', container.made?.imageId ?? ''),
    of('network namespace, addresses, ports', 'network', `sandbox ${container.sandboxId}`),
    of('process tree, streams, exit status', 'shim', shimAddress),
    of('log', 'shim writes it, supervisor reads it', logPath),
    of('the shim, when it is reaped', 'launcher', `process ${container.task?.shimPid ?? 0}`),
  ];
}

function statusField(pid: number, name: string): string | undefined {
  const line = read(`/proc/${pid}/status`)
    ?.split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  return line
    ?.slice(name.length + 1)
    .trim()
    .replaceAll('\t', ' ');
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // A controller without this file, or a process that has just ended.
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '(gone)';
  }
}

function listDir(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
