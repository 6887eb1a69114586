// The shapes of flotilla.v1's ContainerConfig and of an image's config, field by field: a message of the contract is one
// of these as it is. Rules read them; nothing changes them.

/** What the user asks for: flotilla.v1.ContainerConfig. */
export interface ContainerConfig {
  image: string;
  command: string[];
  entrypoint: string[];
  env: string[];
  user: string;
  workingDir: string;
  hostname: string;
  domainname: string;
  tty: boolean;
  openStdin: boolean;
  stdinOnce: boolean;
  labels: Record<string, string>;
  stopSignal: string;
  stopTimeoutSeconds?: number | undefined;
  resources: Resources | undefined;
  mounts: MountConfig[];
  networkMode: string;
  ports: PortMapping[];
  exposedPorts: string[];
  publishAllPorts: boolean;
  capabilitiesAdd: string[];
  capabilitiesDrop: string[];
  privileged: boolean;
  readOnlyRoot: boolean;
  securityOptions: string[];
  ulimits: Ulimit[];
  devices: DeviceConfig[];
  init: boolean;
  log: LogConfig | undefined;
  restartPolicy: RestartPolicy | undefined;
  autoRemove: boolean;
  extraHosts: string[];
  dns: string[];
  dnsSearch: string[];
  dnsOptions: string[];
  sysctls: Record<string, string>;
  ipcMode: string;
  pidMode: string;
  utsMode: string;
  cgroupnsMode: string;
  usernsMode: string;
  shmSizeBytes: bigint;
  healthcheck: Healthcheck | undefined;
  runtime: string;
  groupAdd: string[];
  oomScoreAdj: number;
  networkAliases: string[];
  ipv4Address: string;
  ipv6Address: string;
  macAddress: string;
  volumesFrom: string[];
}

/** Limits; 0 means none. */
export interface Resources {
  memoryBytes: bigint;
  memorySwapBytes: bigint;
  memoryReservationBytes: bigint;
  nanoCpus: bigint;
  cpuShares: bigint;
  cpuQuota: bigint;
  cpuPeriod: bigint;
  cpusetCpus: string;
  cpusetMems: string;
  pidsLimit: bigint;
  blkioWeight: number;
  oomKillDisable: boolean;
  memorySwappiness?: number | undefined;
}

export type MountType =
  | 'MOUNT_TYPE_UNSPECIFIED'
  | 'MOUNT_TYPE_BIND'
  | 'MOUNT_TYPE_VOLUME'
  | 'MOUNT_TYPE_TMPFS'
  | 'UNRECOGNIZED';

export interface MountConfig {
  type: MountType;
  source: string;
  target: string;
  readOnly: boolean;
  propagation: string;
  createSource: boolean;
  noCopy: boolean;
  tmpfsSizeBytes: bigint;
  tmpfsMode: number;
  tmpfsOptions: string[];
  nonRecursive: boolean;
  readOnlyNonRecursive: boolean;
  readOnlyForceRecursive: boolean;
  volumeDriver: string;
  volumeOptions: Record<string, string>;
  volumeLabels: Record<string, string>;
  volumeSubpath: string;
}

/** A mount that another container has. */
export interface InheritedMount extends MountConfig {
  readonly inherited: true;
}

export interface PortMapping {
  hostIp: string;
  hostPort: number;
  containerPort: number;
  protocol: string;
}

export interface Ulimit {
  name: string;
  soft: bigint;
  hard: bigint;
}

export interface DeviceConfig {
  hostPath: string;
  containerPath: string;
  permissions: string;
}

export interface LogConfig {
  driver: string;
  options: Record<string, string>;
}

export interface RestartPolicy {
  name: string;
  maximumRetries: number;
}

export interface Healthcheck {
  test: string[];
  intervalNanos: bigint;
  timeoutNanos: bigint;
  startPeriodNanos: bigint;
  startIntervalNanos: bigint;
  retries: number;
}

/** Defaults that an image gives. */
export interface ImageConfig {
  user: string;
  exposedPorts: string[];
  env: string[];
  entrypoint: string[];
  cmd: string[];
  volumes: string[];
  workingDir: string;
  labels: Record<string, string>;
  stopSignal: string;
  healthcheck: Healthcheck | undefined;
  shell: string[];
  onBuild: string[];
}

/** A place in a network: flotilla.v1.Endpoint. */
export interface Endpoint {
  endpointId: string;
  sandboxId: string;
  networkId: string;
  networkName: string;
  macAddress: string;
  ipv4Address: string;
  ipv6Address: string;
  ipv4Gateway: string;
  ipv6Gateway: string;
  link: string;
  aliases: string[];
}
