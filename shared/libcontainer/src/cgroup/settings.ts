import type { LinuxResources, LinuxThrottleDevice } from '@flotilla/oci';

/** One value for one file of a group. */
export interface Setting {
  readonly controller: string;
  readonly file: string;
  readonly value: string;
  /** Field of `linux.resources`, for errors. */
  readonly field: string;
  /** Without the controller or the file: whether a limit would silently not hold, or only a preference is lost. */
  readonly ifMissing: 'error' | 'warn';
  /** Another name of the file on other kernels. */
  readonly otherFile?: string;
  readonly otherValue?: string;
}

type Made = readonly [
  file: string,
  value: string | number | undefined,
  field: string,
  ifMissing?: Setting['ifMissing'],
];

function settings(controller: string, made: readonly Made[]): Setting[] {
  return made.flatMap(([file, value, field, ifMissing = 'error']): Setting[] =>
    value === undefined ? [] : [{ controller, file: `${controller}.${file}`, value: String(value), field, ifMissing }],
  );
}

/** Files of cgroup v1 (kernel: Documentation/admin-guide/cgroup-v1), in the order to write them. Devices are apart. */
export function v1Settings({
  memory = {},
  cpu = {},
  pids,
  blockIO = {},
  hugepageLimits = [],
  network = {},
}: LinuxResources): Setting[] {
  return [
    ...settings('memory', [
      ['limit_in_bytes', memory.limit, 'memory.limit'],
      ['memsw.limit_in_bytes', memory.swap, 'memory.swap', 'warn'],
      ['soft_limit_in_bytes', memory.reservation, 'memory.reservation'],
      ['swappiness', memory.swappiness, 'memory.swappiness', 'warn'],
      ['oom_control', memory.disableOOMKiller ? 1 : undefined, 'memory.disableOOMKiller', 'warn'],
    ]),
    ...settings('cpu', [
      ['shares', cpu.shares || undefined, 'cpu.shares', 'warn'],
      ['cfs_period_us', cpu.period || undefined, 'cpu.period'],
      ['cfs_quota_us', cpu.quota || undefined, 'cpu.quota'],
      ['rt_period_us', cpu.realtimePeriod || undefined, 'cpu.realtimePeriod'],
      ['rt_runtime_us', cpu.realtimeRuntime || undefined, 'cpu.realtimeRuntime'],
      ['idle', cpu.idle, 'cpu.idle', 'warn'],
    ]),
    ...settings('cpuset', [
      ['cpus', cpu.cpus || undefined, 'cpu.cpus'],
      ['mems', cpu.mems || undefined, 'cpu.mems'],
    ]),
    ...settings('pids', [['max', pids && pidsMax(pids.limit), 'pids.limit']]),
    ...blockSettingsV1(blockIO),
    ...hugepageLimits.flatMap(({ pageSize, limit }) =>
      settings('hugetlb', [[`${pageSize}.limit_in_bytes`, limit, 'hugepageLimits']]),
    ),
    ...settings('net_cls', [['classid', network.classID, 'network.classID']]),
    ...(network.priorities ?? []).flatMap(({ name, priority }) =>
      settings('net_prio', [['ifpriomap', `${name} ${priority}`, 'network.priorities']]),
    ),
  ];
}

function blockSettingsV1(blockIO: NonNullable<LinuxResources['blockIO']>): Setting[] {
  const weights = settings('blkio', [
    ['weight', blockIO.weight || undefined, 'blockIO.weight', 'warn'],
    ['leaf_weight', blockIO.leafWeight || undefined, 'blockIO.leafWeight', 'warn'],
    ...(blockIO.weightDevice ?? []).flatMap(({ major, minor, weight }): Made[] =>
      weight ? [['weight_device', `${major}:${minor} ${weight}`, 'blockIO.weightDevice', 'warn']] : [],
    ),
  ]).map((one) => ({ ...one, otherFile: one.file.replace('blkio.', 'blkio.bfq.') }));
  const throttle = (devices: readonly LinuxThrottleDevice[] | undefined, file: string, field: string): Setting[] =>
    settings(
      'blkio',
      (devices ?? []).map(({ major, minor, rate }): Made => [`throttle.${file}`, `${major}:${minor} ${rate}`, field]),
    );
  return [
    ...weights,
    ...throttle(blockIO.throttleReadBpsDevice, 'read_bps_device', 'blockIO.throttleReadBpsDevice'),
    ...throttle(blockIO.throttleWriteBpsDevice, 'write_bps_device', 'blockIO.throttleWriteBpsDevice'),
    ...throttle(blockIO.throttleReadIOPSDevice, 'read_iops_device', 'blockIO.throttleReadIOPSDevice'),
    ...throttle(blockIO.throttleWriteIOPSDevice, 'write_iops_device', 'blockIO.throttleWriteIOPSDevice'),
  ];
}

/** Files of cgroup v2 (kernel: Documentation/admin-guide/cgroup-v2.rst), in the order to write them. */
export function v2Settings(resources: LinuxResources): Setting[] {
  const { memory = {}, cpu = {}, pids, blockIO = {}, hugepageLimits = [] } = resources;
  return [
    ...settings('memory', [
      ['max', orMax(memory.limit), 'memory.limit'],
      ['swap.max', swapMax(memory), 'memory.swap', 'warn'],
      ['low', orMax(memory.reservation), 'memory.reservation'],
    ]),
    ...settings('cpu', [
      ['weight', cpu.shares ? cpuWeight(cpu.shares) : undefined, 'cpu.shares', 'warn'],
      ['max', cpuMax(cpu), 'cpu.quota'],
      ['idle', cpu.idle, 'cpu.idle', 'warn'],
    ]),
    ...settings('cpuset', [
      ['cpus', cpu.cpus || undefined, 'cpu.cpus'],
      ['mems', cpu.mems || undefined, 'cpu.mems'],
    ]),
    ...settings('pids', [['max', pids && pidsMax(pids.limit), 'pids.limit']]),
    ...blockSettingsV2(blockIO),
    ...hugepageLimits.flatMap(({ pageSize, limit }) =>
      settings('hugetlb', [[`${pageSize}.max`, orMax(limit), 'hugepageLimits']]),
    ),
  ];
}

function blockSettingsV2(blockIO: NonNullable<LinuxResources['blockIO']>): Setting[] {
  const weight = (one: number | undefined, device: string, field: string): Setting[] =>
    one
      ? [
          {
            controller: 'io',
            file: 'io.bfq.weight',
            value: `${device}${one}`,
            otherFile: 'io.weight',
            otherValue: `${device}${ioWeight(one)}`,
            field,
            ifMissing: 'warn',
          },
        ]
      : [];
  const throttle = (devices: readonly LinuxThrottleDevice[] | undefined, key: string, field: string): Setting[] =>
    settings(
      'io',
      (devices ?? []).map(
        ({ major, minor, rate }): Made => ['max', `${major}:${minor} ${key}=${rate || 'max'}`, field],
      ),
    );
  return [
    ...weight(blockIO.weight, '', 'blockIO.weight'),
    ...(blockIO.weightDevice ?? []).flatMap(({ major, minor, weight: one }) =>
      weight(one, `${major}:${minor} `, 'blockIO.weightDevice'),
    ),
    ...throttle(blockIO.throttleReadBpsDevice, 'rbps', 'blockIO.throttleReadBpsDevice'),
    ...throttle(blockIO.throttleWriteBpsDevice, 'wbps', 'blockIO.throttleWriteBpsDevice'),
    ...throttle(blockIO.throttleReadIOPSDevice, 'riops', 'blockIO.throttleReadIOPSDevice'),
    ...throttle(blockIO.throttleWriteIOPSDevice, 'wiops', 'blockIO.throttleWriteIOPSDevice'),
  ];
}

/** What v2 has no file for, as warnings. */
export function v2Warnings({ memory = {}, cpu = {}, network = {} }: LinuxResources): string[] {
  const lost: string[] = [];
  if (memory.swappiness !== undefined) lost.push('memory.swappiness');
  if (memory.disableOOMKiller) lost.push('memory.disableOOMKiller');
  if (cpu.realtimeRuntime || cpu.realtimePeriod) lost.push('cpu.realtimeRuntime and cpu.realtimePeriod');
  if (network.classID !== undefined) lost.push('network.classID');
  if (network.priorities?.length) lost.push('network.priorities');
  return lost.map((field) => `${field} has no effect: cgroup v2 does not offer it`);
}

const orMax = (value: number | undefined): string | undefined =>
  value === undefined ? undefined : value < 0 ? 'max' : String(value);

const pidsMax = (limit: number): string => (limit > 0 ? String(limit) : 'max');

/** v1 counts memory and swap together, v2 swap alone. */
function swapMax({ limit, swap }: NonNullable<LinuxResources['memory']>): string | undefined {
  if (swap === undefined || swap === 0) return undefined;
  if (swap < 0 || limit === undefined || limit < 0) return 'max';
  return String(Math.max(0, swap - limit));
}

function cpuMax({ quota, period }: NonNullable<LinuxResources['cpu']>): string | undefined {
  if (!quota && !period) return undefined;
  return `${quota && quota > 0 ? quota : 'max'} ${period || 100_000}`;
}

/** Shares 2…262144 to weight 1…10000 through 1024 → 100: the quadratic in the exponent that runc and crun use. */
export function cpuWeight(shares: number): number {
  if (shares <= 2) return 1;
  if (shares >= 262_144) return 10_000;
  const log = Math.log2(shares);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}

/** Block weight 10…1000 to 1…10000, as runc does. */
export function ioWeight(weight: number): number {
  return Math.floor(1 + ((weight - 10) * 9999) / 990);
}
