import { invalidField } from '@flotilla/errors';
import type { LinuxCapabilities } from '@flotilla/oci';

/** By number: entry n is capability n of capabilities(7). */
export const allCapabilities = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const;

/** The fourteen that a container has unless told otherwise, as Docker has them. */
export const defaultCapabilities: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

const known: ReadonlySet<string> = new Set(allCapabilities);

/** `net_admin` or `CAP_NET_ADMIN` becomes `CAP_NET_ADMIN`, `all` becomes `ALL`; anything else is an invalid `field`. */
export function parseCapability(name: string, field: string): string {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return 'ALL';
  const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (known.has(full)) return full;
  throw invalidField(field, 'a capability of capabilities(7), as NET_ADMIN or CAP_NET_ADMIN, or ALL', name);
}

/** What a user asks for, names as parseCapability takes them. */
export interface CapabilityChanges {
  readonly add?: readonly string[];
  readonly drop?: readonly string[];
  readonly privileged?: boolean;
}

/**
 * The container's capabilities: the default ones or, with ALL added, every one; without those dropped, which win over
 * ALL, and, after dropping ALL, exactly those added. Throws an invalid `cap_add` or `cap_drop`.
 */
export function applyCapabilityChanges({ add = [], drop = [], privileged = false }: CapabilityChanges): string[] {
  const added = add.map((name) => parseCapability(name, 'cap_add'));
  const dropped = new Set(drop.map((name) => parseCapability(name, 'cap_drop')));
  if (privileged) return [...allCapabilities];
  const names = added.filter((name) => name !== 'ALL');
  if (added.includes('ALL')) return allCapabilities.filter((name) => !dropped.has(name));
  const kept = dropped.has('ALL') ? [] : defaultCapabilities.filter((name) => !dropped.has(name));
  return [...new Set([...kept, ...names])];
}

/** The five sets for names with `CAP_`: inheritable and ambient stay empty, whatever the names (CVE-2022-24769). */
export function toCapabilitySets(names: readonly string[]): LinuxCapabilities {
  return { bounding: names, effective: names, permitted: names, inheritable: [], ambient: [] };
}

/** Bit n for capability n, of names with `CAP_`; an unknown one is an invalid `field`. */
export function capabilityMask(names: readonly string[], field: string): bigint {
  return names.reduce((mask, name) => {
    const number = allCapabilities.indexOf(name as (typeof allCapabilities)[number]);
    if (number === -1) throw invalidField(field, 'capabilities named as CAP_NET_ADMIN', name);
    return mask | (1n << BigInt(number));
  }, 0n);
}
