import type { Command } from 'commander';
import type { HealthFlags } from './policies.ts';

/** What commander makes of the flags that `run` and `create` share: all text, checked in container-config.ts. */
export interface ContainerFlags extends HealthFlags {
  readonly addHost?: readonly string[];
  readonly attach?: readonly string[];
  readonly blkioWeight?: string;
  readonly capAdd?: readonly string[];
  readonly capDrop?: readonly string[];
  readonly cgroupns?: string;
  readonly cidfile?: string;
  readonly cpuPeriod?: string;
  readonly cpuQuota?: string;
  readonly cpuShares?: string;
  readonly cpus?: string;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly device?: readonly string[];
  readonly dns?: readonly string[];
  readonly dnsOption?: readonly string[];
  readonly dnsSearch?: readonly string[];
  readonly domainname?: string;
  readonly entrypoint?: string;
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
  readonly expose?: readonly string[];
  readonly groupAdd?: readonly string[];
  readonly hostname?: string;
  readonly init?: boolean;
  readonly interactive?: boolean;
  readonly ip?: string;
  readonly ip6?: string;
  readonly ipc?: string;
  readonly label?: readonly string[];
  readonly labelFile?: readonly string[];
  readonly logDriver?: string;
  readonly logOpt?: readonly string[];
  readonly macAddress?: string;
  readonly memory?: string;
  readonly memoryReservation?: string;
  readonly memorySwap?: string;
  readonly memorySwappiness?: string;
  readonly mount?: readonly string[];
  readonly name?: string;
  readonly network?: readonly string[];
  readonly networkAlias?: readonly string[];
  readonly oomKillDisable?: boolean;
  readonly oomScoreAdj?: string;
  readonly pid?: string;
  readonly pidsLimit?: string;
  readonly platform?: string;
  readonly privileged?: boolean;
  readonly publish?: readonly string[];
  readonly publishAll?: boolean;
  readonly pull?: string;
  readonly quiet?: boolean;
  readonly readOnly?: boolean;
  readonly restart?: string;
  readonly rm?: boolean;
  readonly runtime?: string;
  readonly securityOpt?: readonly string[];
  readonly shmSize?: string;
  readonly stopSignal?: string;
  readonly stopTimeout?: string;
  readonly sysctl?: readonly string[];
  readonly tmpfs?: readonly string[];
  readonly tty?: boolean;
  readonly ulimit?: readonly string[];
  readonly user?: string;
  readonly userns?: string;
  readonly uts?: string;
  readonly volume?: readonly string[];
  readonly volumeDriver?: string;
  readonly volumesFrom?: readonly string[];
  readonly workdir?: string;
}

const repeated = (value: string, earlier: readonly string[] | undefined): readonly string[] => [
  ...(earlier ?? []),
  value,
];

/** What can be changed later, too. */
const changeable: readonly (readonly [flags: string, description: string])[] = [
  ['--blkio-weight <weight>', 'block I/O relative to others, 10 to 1000'],
  ['--cpu-period <microseconds>', 'period of the CPU quota'],
  ['--cpu-quota <microseconds>', 'CPU time in each period'],
  ['-c, --cpu-shares <weight>', 'CPU time relative to others, 2 to 262144'],
  ['--cpus <number>', 'number of processors, such as 1.5'],
  ['--cpuset-cpus <list>', 'processors that may be used, 0-2,4'],
  ['--cpuset-mems <list>', 'memory nodes that may be used'],
  ['-m, --memory <bytes>', 'memory limit, such as 512m'],
  ['--memory-reservation <bytes>', 'soft memory limit'],
  ['--memory-swap <bytes>', 'memory and swap together; -1 for unlimited swap'],
  ['--memory-swappiness <number>', '0 to 100'],
  ['--pids-limit <number>', 'processes and threads; -1 for unlimited'],
  ['--restart <policy>', 'no, always, unless-stopped or on-failure[:max]'],
];

const single: readonly (readonly [flags: string, description: string])[] = [
  ...changeable,
  ['--cgroupns <mode>', 'cgroup namespace: private or host'],
  ['--cidfile <path>', 'write the container id to a file'],
  ['--domainname <name>', 'NIS domain name'],
  ['--entrypoint <command>', "replaces the image's entrypoint; empty for none"],
  ['--health-cmd <command>', 'command that checks health'],
  ['--health-interval <duration>', 'time between checks'],
  ['--health-retries <number>', 'failures in a row before unhealthy'],
  ['--health-start-interval <duration>', 'time between checks within the start period'],
  ['--health-start-period <duration>', 'time to start before failures count'],
  ['--health-timeout <duration>', 'longest time of one check'],
  ['-h, --hostname <name>', 'host name'],
  ['--ip <address>', 'IPv4 address'],
  ['--ip6 <address>', 'IPv6 address'],
  ['--ipc <mode>', 'IPC namespace: private, host or container:NAME'],
  ['--log-driver <driver>', 'json-file or none'],
  ['--mac-address <address>', 'MAC address'],
  ['--name <name>', 'name of the container'],
  ['--oom-score-adj <number>', '-1000 to 1000'],
  ['--pid <mode>', 'PID namespace: private, host or container:NAME'],
  ['--platform <platform>', 'image for another platform, such as linux/arm64'],
  ['--pull <policy>', 'fetch the image: missing (the default), always or never'],
  ['--runtime <name>', 'flotilla, runc or crun'],
  ['--shm-size <bytes>', 'size of /dev/shm'],
  ['--stop-signal <signal>', 'signal that stops it'],
  ['--stop-timeout <seconds>', 'time to stop before it is killed'],
  ['-u, --user <user>', 'user or uid, with an optional :group'],
  ['--userns <mode>', 'user namespace: host'],
  ['--uts <mode>', 'UTS namespace: private or host'],
  ['--volume-driver <driver>', 'driver of the volumes of --volume: local'],
  ['-w, --workdir <path>', 'working directory'],
];

const many: readonly (readonly [flags: string, description: string])[] = [
  ['--add-host <name:address>', 'line for /etc/hosts; host-gateway as address'],
  ['-a, --attach <stream>', 'attach to stdin, stdout or stderr'],
  ['--cap-add <capability>', 'add a capability'],
  ['--cap-drop <capability>', 'take a capability away'],
  ['--device <spec>', 'device of the host, /host[:/container][:rwm]'],
  ['--dns <address>', 'name server'],
  ['--dns-opt, --dns-option <option>', 'resolv.conf option'],
  ['--dns-search <domain>', 'search domain'],
  ['-e, --env <name=value>', 'environment variable'],
  ['--env-file <path>', 'file of environment variables'],
  ['--expose <port>', 'port or range that is shown, not published'],
  ['--group-add <group>', 'additional group'],
  ['-l, --label <key=value>', 'label'],
  ['--label-file <path>', 'file of labels'],
  ['--log-opt <key=value>', 'option of the log driver: max-size, max-file'],
  ['--mount <spec>', 'mount: type=bind,source=/a,target=/b,readonly'],
  ['--net, --network <mode>', 'bridge, host, none, container:NAME or the name of a network'],
  ['--network-alias <name>', 'further name on the network'],
  ['-p, --publish <spec>', 'publish a port: [ip:][host:]container[/protocol]'],
  ['--security-opt <option>', 'security option'],
  ['--sysctl <key=value>', 'namespaced kernel parameter'],
  ['--tmpfs <path[:options]>', 'file system in memory'],
  ['--ulimit <name=soft[:hard]>', 'process limit'],
  ['-v, --volume <spec>', 'volume or bind mount: [source:]target[:options]'],
  ['--volumes-from <container[:ro]>', 'the volumes and bind mounts of another container'],
];

const switches: readonly (readonly [flags: string, description: string])[] = [
  ['--init', 'an init process reaps orphans and passes signals on'],
  ['-i, --interactive', 'keep standard input open'],
  ['--no-healthcheck', "switch the image's health check off"],
  ['--oom-kill-disable', 'the OOM killer leaves it alone'],
  ['--privileged', 'all capabilities and devices'],
  ['-P, --publish-all', 'publish every exposed port on a free host port'],
  ['-q, --quiet', 'say nothing while the image is fetched'],
  ['--read-only', 'the root is read-only'],
  ['--rm', 'remove the container when it exits'],
  ['-t, --tty', 'a terminal'],
];

/** Adds the flags of `update`. */
export function addChangeableFlags(command: Command): Command {
  for (const [flags, description] of changeable) command.option(flags, description);
  return command;
}

/** Adds to a command the flags that say what a container is like. */
export function addContainerFlags(command: Command): Command {
  for (const [flags, description] of single) command.option(flags, description);
  for (const [flags, description] of many) command.option(flags, description, repeated);
  for (const [flags, description] of switches) command.option(flags, description);
  return command;
}
