import type { Mount } from '@flotilla/oci';

/** How the usual mounts differ between containers. */
export interface DefaultMountOptions {
  /** Size of /dev/shm in bytes, 64 MiB unless told otherwise. */
  readonly shmSizeBytes?: number;
  /** /sys and the cgroups are writable. */
  readonly privileged?: boolean;
  /** Paths for which the caller has a mount of its own: `/dev/shm`. */
  readonly without?: readonly string[];
}

/** What every container has besides its root filesystem: /proc, /dev and below it, /sys, cgroups. */
export function defaultMountsFor(options: DefaultMountOptions = {}): Mount[] {
  const { shmSizeBytes = 64 * 1024 * 1024, privileged = false, without = [] } = options;
  const access = privileged ? 'rw' : 'ro';
  const mounts: Mount[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', access] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: [access, 'nosuid', 'noexec', 'nodev'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shmSizeBytes}`],
    },
  ];
  return mounts.filter(({ destination }) => !without.includes(destination));
}

export const defaultMounts: readonly Mount[] = defaultMountsFor();

/** Hidden: an empty file or an empty folder lies over each that exists. */
export const defaultMaskedPaths: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];

export const defaultReadonlyPaths: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];
