import type { LinuxDevice, LinuxDeviceCgroup } from '@flotilla/oci';

/** In every container, whatever `linux.devices` says (OCI runtime-spec, config-linux.md, Default Devices). */
export const defaultDevices: readonly LinuxDevice[] = [
  { path: '/dev/null', type: 'c', major: 1, minor: 3, fileMode: 0o666 },
  { path: '/dev/zero', type: 'c', major: 1, minor: 5, fileMode: 0o666 },
  { path: '/dev/full', type: 'c', major: 1, minor: 7, fileMode: 0o666 },
  { path: '/dev/random', type: 'c', major: 1, minor: 8, fileMode: 0o666 },
  { path: '/dev/urandom', type: 'c', major: 1, minor: 9, fileMode: 0o666 },
  { path: '/dev/tty', type: 'c', major: 5, minor: 0, fileMode: 0o666 },
];

/** Nothing but: making (not opening) any node, the default devices, terminals. Later rules win. */
export const defaultDeviceRules: readonly LinuxDeviceCgroup[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...defaultDevices.map(({ major = 0, minor = 0 }) => ({
    allow: true,
    type: 'c' as const,
    major,
    minor,
    access: 'rwm',
  })),
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 2, access: 'rwm' },
  { allow: true, type: 'c', major: 136, access: 'rwm' },
];

/** Everything, for a privileged container. */
export const privilegedDeviceRules: readonly LinuxDeviceCgroup[] = [{ allow: true, access: 'rwm' }];
