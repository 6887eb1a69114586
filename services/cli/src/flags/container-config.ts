import { invalidField } from '@flotilla/errors';
import type { ContainerConfig, DeepPartial, Resources } from '@flotilla/proto/flotilla/v1/container';
import type { ContainerFlags } from './container-flags.ts';
import { parseDevice } from './devices.ts';
import { parseEnv, parseEnvFile, parseLabelFile, parsePairs } from './environment.ts';
import { parseUlimit } from './limits.ts';
import { parseMount } from './mount.ts';
import { parseNetwork } from './network-flag.ts';
import { parseCpus, parseInteger } from './number.ts';
import { parseHealthcheck, parseRestartPolicy } from './policies.ts';
import { parseExpose, parsePublish } from './ports.ts';
import { parseSize, parseSizeOrUnlimited } from './size.ts';
import { type MountFlag, parseTmpfs, parseVolume, type VolumeHost } from './volumes.ts';

/** What the flags may refer to on the client's side. */
export interface ClientHost extends VolumeHost {
  readonly env: NodeJS.ProcessEnv;
  /** Reads a text file; throws an error that names it. */
  readonly readFile: (path: string) => string;
}

const int32Max = 0x7fff_ffff;

/** Makes the request's config of the flags of `run` and `create`. INVALID_FIELD names the flag that is wrong. */
export function buildContainerConfig(
  image: string,
  command: readonly string[],
  flags: ContainerFlags,
  host: ClientHost,
): DeepPartial<ContainerConfig> {
  const { logDriver, logOpt, stopTimeout, restart, oomScoreAdj, shmSize } = flags;
  const restartPolicy = restart === undefined ? undefined : parseRestartPolicy(restart);
  if (flags.rm === true && restartPolicy !== undefined && restartPolicy.name !== 'no') {
    throw invalidField('--rm', 'given without --restart');
  }
  const healthcheck = parseHealthcheck(flags);
  const config: DeepPartial<ContainerConfig> = {
    image,
    command: [...command],
    entrypoint: flags.entrypoint === undefined ? [] : [flags.entrypoint],
    ...plain(flags),
    env: [
      ...(flags.envFile ?? []).flatMap((path) => parseEnvFile(path, host.readFile(path), host.env)),
      ...(flags.env ?? []).map((text) => parseEnv(text, host.env)),
    ],
    labels: Object.assign(
      {},
      ...(flags.labelFile ?? []).map((path) => parseLabelFile(path, host.readFile(path))),
      parsePairs('--label', flags.label ?? []),
    ),
    resources: buildResources(flags),
    mounts: buildMounts(flags, host),
    volumesFrom: [...(flags.volumesFrom ?? [])],
    ports: (flags.publish ?? []).flatMap(parsePublish),
    exposedPorts: (flags.expose ?? []).flatMap((text) => parseExpose('--expose', text)),
    securityOptions: (flags.securityOpt ?? []).map((text) => securityOption(text, host)),
    ulimits: (flags.ulimit ?? []).map(parseUlimit),
    devices: (flags.device ?? []).map(parseDevice),
    sysctls: parsePairs('--sysctl', flags.sysctl ?? [], true),
    extraHosts: (flags.addHost ?? []).map(extraHost),
    shmSizeBytes: shmSize === undefined ? 0n : parseSize('--shm-size', shmSize),
    oomScoreAdj: oomScoreAdj === undefined ? 0 : parseInteger('--oom-score-adj', oomScoreAdj, -1000, 1000),
    ...networkOf(flags),
  };
  if (restartPolicy !== undefined) config.restartPolicy = restartPolicy;
  if (healthcheck !== undefined) config.healthcheck = healthcheck;
  if (stopTimeout !== undefined) {
    config.stopTimeoutSeconds = parseInteger('--stop-timeout', stopTimeout, -1, int32Max);
  }
  if (logDriver !== undefined || logOpt !== undefined) {
    config.log = { driver: logDriver ?? '', options: parsePairs('--log-opt', logOpt ?? [], true) };
  }
  return config;
}

/** Flags that go over as they are. */
function plain(flags: ContainerFlags): DeepPartial<ContainerConfig> {
  return {
    user: flags.user ?? '',
    workingDir: flags.workdir ?? '',
    hostname: flags.hostname ?? '',
    domainname: flags.domainname ?? '',
    tty: flags.tty === true,
    openStdin: flags.interactive === true,
    stopSignal: flags.stopSignal ?? '',
    publishAllPorts: flags.publishAll === true,
    capabilitiesAdd: [...(flags.capAdd ?? [])],
    capabilitiesDrop: [...(flags.capDrop ?? [])],
    privileged: flags.privileged === true,
    readOnlyRoot: flags.readOnly === true,
    init: flags.init === true,
    autoRemove: flags.rm === true,
    dns: [...(flags.dns ?? [])],
    dnsSearch: [...(flags.dnsSearch ?? [])],
    dnsOptions: [...(flags.dnsOption ?? [])],
    ipcMode: flags.ipc ?? '',
    pidMode: flags.pid ?? '',
    utsMode: flags.uts ?? '',
    cgroupnsMode: flags.cgroupns ?? '',
    usernsMode: flags.userns ?? '',
    runtime: flags.runtime ?? '',
    groupAdd: [...(flags.groupAdd ?? [])],
  };
}

/** Limits that the flags name; 0 and empty for the others. */
export function buildResources(flags: ContainerFlags): DeepPartial<Resources> {
  const bytes = (name: string, text: string | undefined) => (text === undefined ? 0n : parseSize(name, text));
  const whole = (name: string, text: string | undefined, min: number, max: number) =>
    text === undefined ? 0 : parseInteger(name, text, min, max);
  const { cpus, cpuQuota, memorySwap, memorySwappiness } = flags;
  if (cpus !== undefined && cpuQuota !== undefined) throw invalidField('--cpus', 'given without --cpu-quota');
  return {
    memoryBytes: bytes('--memory', flags.memory),
    memorySwapBytes: memorySwap === undefined ? 0n : parseSizeOrUnlimited('--memory-swap', memorySwap),
    memoryReservationBytes: bytes('--memory-reservation', flags.memoryReservation),
    nanoCpus: cpus === undefined ? 0n : parseCpus('--cpus', cpus),
    cpuShares: whole('--cpu-shares', flags.cpuShares, 0, 262_144),
    cpuQuota: whole('--cpu-quota', cpuQuota, -1, Number.MAX_SAFE_INTEGER),
    cpuPeriod: whole('--cpu-period', flags.cpuPeriod, 0, 1_000_000),
    cpusetCpus: flags.cpusetCpus ?? '',
    cpusetMems: flags.cpusetMems ?? '',
    pidsLimit: whole('--pids-limit', flags.pidsLimit, -1, 4_194_304),
    blkioWeight: whole('--blkio-weight', flags.blkioWeight, 0, 1000),
    oomKillDisable: flags.oomKillDisable === true,
    ...(memorySwappiness === undefined
      ? {}
      : { memorySwappiness: parseInteger('--memory-swappiness', memorySwappiness, 0, 100) }),
  };
}

function buildMounts(flags: ContainerFlags, host: ClientHost): MountFlag[] {
  const mounts = [
    ...(flags.volume ?? []).map((text) => withDriver(parseVolume(text, host), flags.volumeDriver)),
    ...(flags.mount ?? []).map((text) => parseMount(text, host.cwd)),
    ...(flags.tmpfs ?? []).map(parseTmpfs),
  ];
  const targets = new Set<string>();
  for (const { target } of mounts) {
    if (targets.has(target)) throw invalidField('mount target', 'used once', target);
    targets.add(target);
  }
  return mounts;
}

/** `--volume-driver` is for the volumes of `--volume`. */
function withDriver(mount: MountFlag, volumeDriver: string | undefined): MountFlag {
  return mount.type === 'MOUNT_TYPE_VOLUME' && volumeDriver !== undefined ? { ...mount, volumeDriver } : mount;
}

/** `seccomp=FILE` becomes `seccomp=JSON`: the engine may not be able to read the client's files. */
function securityOption(text: string, host: ClientHost): string {
  const option = text.replace(/^(seccomp|apparmor|label|no-new-privileges):/, '$1=');
  const profile = /^seccomp=(.*)$/s.exec(option)?.[1];
  if (profile === undefined || profile === 'unconfined' || profile === 'builtin') return option;
  if (profile.trimStart().startsWith('{')) return option;
  const content = host.readFile(profile);
  try {
    return `seccomp=${JSON.stringify(JSON.parse(content))}`;
  } catch {
    throw invalidField('--security-opt seccomp', 'unconfined or a file of JSON', profile);
  }
}

/** `name:address`, or `name=address`; IPv6 addresses may stand in brackets. */
function extraHost(text: string): string {
  const match = /^([^:=]+)[:=]\[?([^\]]+)\]?$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) throw invalidField('--add-host', 'name:address', text);
  return `${match[1]}:${match[2]}`;
}

function networkOf(flags: ContainerFlags): DeepPartial<ContainerConfig> {
  const network = parseNetwork(flags.network ?? []);
  return {
    networkMode: network.networkMode,
    networkAliases: [...network.networkAliases, ...(flags.networkAlias ?? [])],
    ipv4Address: flags.ip ?? network.ipv4Address,
    ipv6Address: flags.ip6 ?? network.ipv6Address,
    macAddress: flags.macAddress ?? network.macAddress,
  };
}
