import { invalidField } from '@flotilla/errors';

/** What is mounted when a container uses a volume. */
export interface VolumeDevice {
  /** A file system type, or `none` for a folder of the host. */
  readonly type: string;
  readonly device: string;
  /** Options of mount(8), separated by commas. */
  readonly options: string;
}

const known = ['type', 'device', 'o'];
const longestPathBytes = 4095; // PATH_MAX, limits.h
const longestOptionsBytes = 4095; // mount(2): a page
const typePattern = /^[a-zA-Z0-9_.-]{0,64}$/;

/**
 * Options of the local driver: undefined when there are none, else what is to be mounted. INVALID_FIELD for unknown ones,
 * and for `type`, `device` or `o` without the others that they need, as Docker has it.
 */
export function parseVolumeOptions(options: Readonly<Record<string, string>>, field: string): VolumeDevice | undefined {
  for (const [key, value] of Object.entries(options)) {
    if (key === 'size') throw invalidField(`${field}.size`, 'absent: the local driver has no quotas', value);
    if (!known.includes(key)) throw invalidField(`${field}.${key}`, `one of ${known.join(', ')}`);
    if (value.includes('\0') || value.includes('\n')) throw invalidField(`${field}.${key}`, 'a single line');
  }
  const { type, device, o = '' } = options;
  if (type === undefined && device === undefined && options.o === undefined) return undefined;
  if (type === undefined) throw invalidField(`${field}.type`, 'given with device and o');
  if (device === undefined || device === '') throw invalidField(`${field}.device`, 'given with type and o');
  if (!typePattern.test(type)) throw invalidField(`${field}.type`, 'the name of a file system', type);
  if (Buffer.byteLength(device) > longestPathBytes) {
    throw invalidField(`${field}.device`, `at most ${longestPathBytes} bytes long`);
  }
  if (Buffer.byteLength(o) > longestOptionsBytes) {
    throw invalidField(`${field}.o`, `at most ${longestOptionsBytes} bytes long`);
  }
  const list = o.split(',');
  if (list.includes('remount')) throw invalidField(`${field}.o`, 'without remount');
  if (isBind(list) && !device.startsWith('/')) throw invalidField(`${field}.device`, 'an absolute path', device);
  return { type: type === '' ? 'none' : type, device, options: o };
}

function isBind(list: readonly string[]): boolean {
  return list.includes('bind') || list.includes('rbind');
}

/** A bind mount or memory: mounted at once. Anything else may wait for a network or a disk. */
export function mountsAtOnce({ type, options }: VolumeDevice): boolean {
  return type === 'tmpfs' || isBind(options.split(','));
}

/** The host that a network file system's `addr=` names; undefined when there is none or the kernel needs none. */
export function addressOf({ type, options }: VolumeDevice): string | undefined {
  if (!/^(nfs4?|cifs|smb3)$/.test(type)) return undefined;
  const found = options.split(',').find((option) => option.startsWith('addr='));
  return found?.slice('addr='.length);
}

/** The same with another address: the kernel resolves no names. */
export function withAddress(device: VolumeDevice, address: string): VolumeDevice {
  const options = device.options.split(',').map((option) => (option.startsWith('addr=') ? `addr=${address}` : option));
  return { ...device, options: options.join(',') };
}
