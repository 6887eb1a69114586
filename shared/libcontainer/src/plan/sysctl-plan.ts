import { invalidField } from '@flotilla/errors';

/** Which new namespaces the container has, for what may be set in them. */
export interface OwnNamespaces {
  readonly ipc: boolean;
  readonly network: boolean;
  readonly uts: boolean;
}

const ipcKeys = new Set(
  ['msgmax', 'msgmnb', 'msgmni', 'sem', 'shmall', 'shmmax', 'shmmni', 'shm_rmid_forced'].map((key) => `kernel.${key}`),
);

/** A setting below /proc/sys. */
export interface SysctlPlan {
  readonly path: string;
  readonly value: string;
}

/** Only what a namespace of the container's own holds; nothing of the host's (CVE-2022-0811). */
export function planSysctls(sysctls: Readonly<Record<string, string>>, own: OwnNamespaces): SysctlPlan[] {
  return Object.entries(sysctls).map(([key, value]) => {
    const field = `linux.sysctl.${key}`;
    if (!/^[a-z0-9_]+([./][A-Za-z0-9_@:-]+)+$/.test(key)) throw invalidField(field, 'a name as net.ipv4.ip_forward');
    if (value.includes('\0') || value.length > 4096) throw invalidField(field, 'a value of at most 4096 characters');
    if (!isOwn(key.replaceAll('/', '.'), own))
      throw invalidField(field, "a setting of one of the container's own namespaces");
    // As sysctl(8): with dots first, slashes stand for dots within a name (a VLAN eth0.100).
    const path =
      key.includes('/') && key.indexOf('/') < (key.indexOf('.') + 1 || Number.POSITIVE_INFINITY) ? key : swap(key);
    return { path, value };
  });
}

const swap = (key: string): string => key.replace(/[./]/g, (mark) => (mark === '.' ? '/' : '.'));

function isOwn(key: string, { ipc, network, uts }: OwnNamespaces): boolean {
  if (ipcKeys.has(key) || key.startsWith('fs.mqueue.')) return ipc;
  if (key === 'kernel.domainname') return uts;
  return key.startsWith('net.') && network;
}
