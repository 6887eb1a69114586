/** Traffic of a container with a block device. */
export interface BlockDeviceUsage {
  readonly major: number;
  readonly minor: number;
  /** By operation: `read`, `write`, `discard`; v1 also `sync`, `async`, `total`. */
  readonly bytes: ReadonlyMap<string, number>;
  readonly operations: ReadonlyMap<string, number>;
}

interface Device {
  readonly major: number;
  readonly minor: number;
  readonly bytes: Map<string, number>;
  readonly operations: Map<string, number>;
}

/** Names of io.stat (cgroup-v2.rst): what they count of which operation. */
const ioStatKeys: Readonly<Record<string, readonly ['bytes' | 'operations', string]>> = {
  rbytes: ['bytes', 'read'],
  wbytes: ['bytes', 'write'],
  dbytes: ['bytes', 'discard'],
  rios: ['operations', 'read'],
  wios: ['operations', 'write'],
  dios: ['operations', 'discard'],
};

/** v2: lines of `8:0 rbytes=4096 wbytes=0 rios=1 …`. */
export function parseIoStat(text: string): readonly BlockDeviceUsage[] {
  const devices = new Map<string, Device>();
  for (const line of text.split('\n')) {
    const [number = '', ...fields] = line.split(' ');
    if (!number.includes(':')) continue;
    const device = deviceOf(devices, number);
    for (const field of fields) {
      const [key = '', value = '0'] = field.split('=');
      const known = ioStatKeys[key];
      if (known !== undefined) device[known[0]].set(known[1], Number(value));
    }
  }
  return [...devices.values()];
}

/** v1: blkio.throttle.io_service_bytes_recursive and io_serviced_recursive, lines of `8:0 Read 4096` (blkio-controller.rst). */
export function parseBlkio(bytes: string, operations: string): readonly BlockDeviceUsage[] {
  const devices = new Map<string, Device>();
  for (const [what, text] of [
    ['bytes', bytes],
    ['operations', operations],
  ] as const) {
    for (const line of text.split('\n')) {
      const [number = '', operation = '', value = '0'] = line.split(' ');
      if (number.includes(':')) deviceOf(devices, number)[what].set(operation.toLowerCase(), Number(value));
    }
  }
  return [...devices.values()];
}

function deviceOf(devices: Map<string, Device>, number: string): Device {
  const known = devices.get(number);
  if (known !== undefined) return known;
  const [major = 0, minor = 0] = number.split(':').map(Number);
  const device = { major, minor, bytes: new Map<string, number>(), operations: new Map<string, number>() };
  devices.set(number, device);
  return device;
}
