// The runtime-spec's config.json (OCI runtime-spec 1.2, config.md and config-linux.md), field by field as it is written
// there. Only Linux; hooks and the fields of other platforms are left out, because the engine writes none.

/** config.md. */
export interface Spec {
  readonly ociVersion: string;
  readonly process?: Process;
  readonly root?: Root;
  readonly hostname?: string;
  readonly domainname?: string;
  readonly mounts?: readonly Mount[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux?: Linux;
}

/** config.md, Process. */
export interface Process {
  readonly terminal?: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
  readonly user: User;
  readonly args: readonly string[];
  readonly env?: readonly string[];
  readonly cwd: string;
  readonly capabilities?: LinuxCapabilities;
  readonly rlimits?: readonly Rlimit[];
  readonly noNewPrivileges?: boolean;
  readonly apparmorProfile?: string;
  readonly oomScoreAdj?: number;
  readonly selinuxLabel?: string;
}

/** config.md, User. */
export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly umask?: number;
  readonly additionalGids?: readonly number[];
}

/** capabilities(7): names with `CAP_`. */
export interface LinuxCapabilities {
  readonly bounding?: readonly string[];
  readonly effective?: readonly string[];
  readonly inheritable?: readonly string[];
  readonly permitted?: readonly string[];
  readonly ambient?: readonly string[];
}

/** setrlimit(2): `RLIMIT_NOFILE`; -1 or 2^64-1 means unlimited. */
export interface Rlimit {
  readonly type: string;
  readonly soft: number;
  readonly hard: number;
}

export interface Root {
  readonly path: string;
  readonly readonly?: boolean;
}

/** config.md, Mounts. */
export interface Mount {
  readonly destination: string;
  readonly type?: string;
  readonly source?: string;
  readonly options?: readonly string[];
  /** Not of the specification, for our own runtime alone: a relative path in a bind's source, resolved so that it cannot leave it. */
  readonly subpath?: string;
}

/** config-linux.md. */
export interface Linux {
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
  readonly sysctl?: Readonly<Record<string, string>>;
  readonly resources?: LinuxResources;
  /** Path below each hierarchy. */
  readonly cgroupsPath?: string;
  readonly namespaces?: readonly LinuxNamespace[];
  readonly devices?: readonly LinuxDevice[];
  readonly seccomp?: LinuxSeccomp;
  readonly rootfsPropagation?: string;
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  readonly mountLabel?: string;
}

export interface IdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

export type LinuxNamespaceType = 'pid' | 'network' | 'ipc' | 'uts' | 'mount' | 'user' | 'cgroup' | 'time';

/** Without a path a new one is made; a type that is not listed is the host's. */
export interface LinuxNamespace {
  readonly type: LinuxNamespaceType;
  readonly path?: string;
}

/** config-linux.md, Devices. */
export interface LinuxDevice {
  readonly path: string;
  /** Character, block, FIFO; `u` is an unbuffered character device. */
  readonly type: 'c' | 'b' | 'u' | 'p';
  readonly major?: number;
  readonly minor?: number;
  readonly fileMode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** config-linux.md, Control groups. */
export interface LinuxResources {
  readonly devices?: readonly LinuxDeviceCgroup[];
  readonly memory?: LinuxMemory;
  readonly cpu?: LinuxCpu;
  readonly pids?: { readonly limit: number };
  readonly blockIO?: LinuxBlockIo;
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  readonly network?: {
    readonly classID?: number;
    readonly priorities?: readonly { readonly name: string; readonly priority: number }[];
  };
  readonly unified?: Readonly<Record<string, string>>;
}

export interface LinuxDeviceCgroup {
  readonly allow: boolean;
  readonly type?: 'a' | 'c' | 'b';
  readonly major?: number;
  readonly minor?: number;
  /** Of `rwm`. */
  readonly access?: string;
}

/** Bytes; -1 means unlimited. */
export interface LinuxMemory {
  readonly limit?: number;
  readonly reservation?: number;
  /** Memory and swap together. */
  readonly swap?: number;
  readonly swappiness?: number;
  readonly disableOOMKiller?: boolean;
}

/** Microseconds. */
export interface LinuxCpu {
  readonly shares?: number;
  readonly quota?: number;
  readonly period?: number;
  readonly realtimeRuntime?: number;
  readonly realtimePeriod?: number;
  readonly cpus?: string;
  readonly mems?: string;
  readonly idle?: number;
}

export interface LinuxThrottleDevice {
  readonly major: number;
  readonly minor: number;
  readonly rate: number;
}

export interface LinuxBlockIo {
  readonly weight?: number;
  readonly leafWeight?: number;
  readonly weightDevice?: readonly {
    readonly major: number;
    readonly minor: number;
    readonly weight?: number;
    readonly leafWeight?: number;
  }[];
  readonly throttleReadBpsDevice?: readonly LinuxThrottleDevice[];
  readonly throttleWriteBpsDevice?: readonly LinuxThrottleDevice[];
  readonly throttleReadIOPSDevice?: readonly LinuxThrottleDevice[];
  readonly throttleWriteIOPSDevice?: readonly LinuxThrottleDevice[];
}

/** config-linux.md, Seccomp. */
export interface LinuxSeccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly flags?: readonly string[];
  readonly syscalls?: readonly LinuxSyscall[];
}

export interface LinuxSyscall {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly LinuxSeccompArg[];
}

export interface LinuxSeccompArg {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  /** `SCMP_CMP_EQ`, … */
  readonly op: string;
}
