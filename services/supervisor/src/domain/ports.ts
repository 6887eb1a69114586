import type { LinuxDevice, LinuxDeviceCgroup, LinuxResources, Spec } from '@flotilla/oci';
import type { ContainerEvent, ContainerRecord } from './container.ts';
import type { Endpoint, ImageConfig, PortMapping } from './container-config.ts';
import type { ExecRecord } from './exec.ts';
import type { TaskLog } from './log-settings.ts';
import type { LogOptions } from './validation/log-options.ts';

// What the rules need from outside, in the rules' own words.

/** Keeps what must outlive the process; reads come from memory. */
export interface Repository {
  get(containerId: string): ContainerRecord | undefined;
  /** By id, unique id prefix or name. NOT_FOUND / CONTAINER_NOT_FOUND, INVALID_ARGUMENT / CONTAINER_AMBIGUOUS. */
  find(reference: string): ContainerRecord;
  findByName(name: string): ContainerRecord | undefined;
  findByIdempotencyKey(key: string): ContainerRecord | undefined;
  all(): Iterable<ContainerRecord>;
  /**
   * Stores a container together with what it has to announce: a crash loses both or neither. Execs given are stored with
   * it.
   */
  save(change: Change): void;
  /** Resolves once all that was stored so far survives power loss too. */
  flush(): Promise<void>;
  /** Forgets a container and its execs, and announces it. */
  remove(containerId: string, events: readonly ContainerEvent[]): void;
  getExec(execId: string): ExecRecord | undefined;
  execsOf(containerId: string): readonly ExecRecord[];
  /** Forgets the execs of a container's earlier run. */
  removeExecs(containerId: string): void;
  /** Calls back after each change of a container; undefined means that it is gone. Returns what ends that. */
  watch(containerId: string, listener: (record: ContainerRecord | undefined) => void): () => void;
  /** The same for every container. */
  watchAll(listener: (containerId: string, record: ContainerRecord | undefined) => void): () => void;
}

export interface Change {
  readonly container?: ContainerRecord;
  readonly execs?: readonly ExecRecord[];
  /** Ids. */
  readonly forgottenExecs?: readonly string[];
  readonly events?: readonly ContainerEvent[];
}

export interface ImageFacts {
  readonly imageId: string;
  readonly config: ImageConfig;
}

/** As mount(2) takes it. */
export interface RootfsMount {
  type: string;
  source: string;
  options: string[];
}

export interface VolumeWish {
  readonly name: string;
  readonly target: string;
  readonly noCopy: boolean;
  /** Of a volume that is made. */
  readonly driver: string;
  readonly options: Record<string, string>;
  readonly labels: Record<string, string>;
  /** Another container has it: it must be there. */
  readonly inherited: boolean;
}

/** A volume in a container that is about to run. */
export interface VolumeMount {
  readonly name: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation: string;
}

/** The image service: idempotent by container id. */
export interface Images {
  /** NOT_FOUND / IMAGE_NOT_FOUND. */
  resolve(image: string): Promise<ImageFacts>;
  prepareSnapshot(containerId: string, imageId: string): Promise<void>;
  /** How to mount the snapshot: what prepareSnapshot said, or asked anew. */
  snapshotMounts(containerId: string): Promise<readonly RootfsMount[]>;
  removeSnapshot(containerId: string): Promise<void>;
  listSnapshots(): Promise<readonly string[]>;
  /** Bytes that containers have written, by id. Looks at each file: it may take long. */
  usage(containerIds: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, number>>;
  /** In the order of the wishes. */
  prepareVolumes(
    containerId: string,
    wishes: readonly VolumeWish[],
  ): Promise<readonly { readonly name: string; readonly path: string }[]>;
  releaseVolumes(containerId: string, removeAnonymous: boolean): Promise<void>;
  /** The container is about to run. FAILED_PRECONDITION / VOLUME_MOUNT_FAILED. */
  mountVolumes(containerId: string, volumes: readonly VolumeMount[]): Promise<void>;
  /** It runs no more. */
  unmountVolumes(containerId: string): Promise<void>;
  /** Containers that run with volumes. */
  listVolumeMounts(): Promise<readonly string[]>;
  /** A file of the snapshot; undefined when it is not there. `fresh`: the container may have changed it. */
  readFile(file: SnapshotFile): Promise<Uint8Array | undefined>;
}

/** What a container sees, and how one comes to it. */
export interface ContainerTree {
  readonly key: string;
  /** Its init, once and for all; undefined when it does not run. */
  readonly process: InitProcess | undefined;
  /** What is mounted when it does not run, outermost first. */
  readonly mounts: readonly TreeMount[];
  readonly readOnly: boolean;
}

export interface TreeMount {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** In the source; empty: all of it. */
  readonly subpath: string;
  readonly nonRecursive: boolean;
  readonly readOnlyNonRecursive: boolean;
}

export interface InitProcess {
  readonly pid: number;
  /** Clock ticks after boot. */
  readonly startTime: number;
}

/** What a path is, as Docker tells it. */
export interface PathStat {
  readonly name: string;
  readonly sizeBytes: bigint;
  /** Type and permissions. */
  readonly mode: number;
  readonly modifiedUnixNano: bigint;
  readonly linkTarget: string;
}

/** Where and how to unpack. */
export interface TreeWish {
  readonly path: string;
  readonly noOverwriteDirNonDir: boolean;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

/** Copies files: the image service. */
export interface Trees {
  stat(tree: ContainerTree, path: string, signal: AbortSignal): Promise<PathStat>;
  /** What it is, then the tar. */
  read(tree: ContainerTree, path: string, signal: AbortSignal): AsyncIterable<PathStat | Uint8Array>;
  write(tree: ContainerTree, wish: TreeWish, chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
}

export interface SnapshotFile {
  readonly containerId: string;
  readonly imageId: string;
  readonly path: string;
  readonly fresh: boolean;
}

/** What a sandbox wants of the network. */
export interface SandboxWish {
  readonly sandboxId: string;
  readonly network: string;
  readonly aliases: readonly string[];
  readonly ipv4Address: string;
  readonly ipv6Address: string;
  readonly macAddress: string;
  readonly ports: readonly PortMapping[];
  readonly hostname: string;
  readonly name: string;
  /** `net.*`. */
  readonly sysctls: Readonly<Record<string, string>>;
}

export interface Attached {
  readonly netnsPath: string;
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly PortMapping[];
  readonly nameservers: readonly string[];
  readonly searchDomains: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly hostGateway: string;
}

/** The network service: idempotent by sandbox id. */
export interface Networks {
  check(wish: SandboxWish): Promise<readonly string[]>;
  attach(wish: SandboxWish): Promise<Attached>;
  detach(sandboxId: string): Promise<void>;
  listSandboxes(): Promise<readonly string[]>;
}

export interface Launched {
  readonly shimPid: number;
  readonly initPid: number;
  readonly warnings: readonly string[];
}

/** One shim in the place of another. */
export interface ReplacedShim {
  readonly shimPid: number;
  readonly replacedPid: number;
}

/** The launcher. */
export interface Launcher {
  launch(containerId: string, run: number): Promise<Launched>;
  replace(containerId: string): Promise<ReplacedShim>;
  forkMode(): Promise<string>;
}

export interface Started {
  readonly initPid: number;
  readonly startedAtUnixNano: bigint;
}

export interface TaskState {
  readonly run: number;
  readonly state: 'created' | 'running' | 'paused' | 'exited';
  readonly initPid: number;
}

export interface ExecStart {
  readonly execId: string;
  readonly processJson: string;
  readonly detach: boolean;
  readonly stdin: boolean;
  readonly size: { readonly rows: number; readonly columns: number } | undefined;
  /** Without the container's seccomp filter. */
  readonly unconfined: boolean;
}

/** A container's shim. */
export interface Shims {
  /** `unix:///…/shim.sock`. */
  address(containerId: string): string;
  start(containerId: string, expectedAttachments: number): Promise<Started>;
  state(containerId: string): Promise<TaskState>;
  /** `all`: every process of the container. By the shim; SIGKILL also without it. */
  kill(container: ContainerRecord, signal: number, all: boolean): Promise<void>;
  /** Changes limits of a container that runs: all of them or none. Returns warnings. RESOURCE_LIMIT_INVALID. */
  limit(containerId: string, resources: LinuxResources): readonly string[];
  pause(containerId: string): Promise<void>;
  resume(containerId: string): Promise<void>;
  startExec(containerId: string, start: ExecStart): Promise<number>;
  /** Hears an exec's output, of both streams, to its end; answers its exit code. The signal ends the hearing. */
  followExec(
    containerId: string,
    execId: string,
    onOutput: (chunk: Uint8Array) => void,
    signal: AbortSignal,
  ): Promise<number>;
  /** Signals an exec and its process group. NOT_FOUND / EXEC_NOT_FOUND, FAILED_PRECONDITION / TASK_NOT_RUNNING. */
  killExec(containerId: string, execId: string, signal: number): Promise<void>;
  resize(containerId: string, execId: string, size: { readonly rows: number; readonly columns: number }): Promise<void>;
  /** Ends what is left of a run, the shim included, and removes its folder. Nothing there is no error. */
  delete(containerId: string): Promise<void>;
}

/** What the files of a shim and the kernel say about a run. */
export type TaskTruth =
  | { readonly kind: 'alive'; readonly shimPid: number; readonly initPid: number }
  | { readonly kind: 'exited'; readonly exit: ExitRecord }
  /** Nothing runs and nobody wrote down how it ended. */
  | { readonly kind: 'gone' };

export interface ExitRecord {
  readonly run: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly exitedAtUnixNano: bigint;
  /** Why the engine does not know more; empty when it does. */
  readonly error?: string;
  /** A shim wrote it, once the container's output was in its log; else one that takes over may be about to see to that. */
  readonly drained?: boolean;
}

/** Names, host names and addresses for a container's files. */
export interface EtcContent {
  readonly hostname: string;
  readonly hosts: string;
  readonly resolvConf: string;
}

export interface Bundle {
  readonly containerId: string;
  readonly run: number;
  readonly spec: Spec;
  /** Written before the spec; undefined when the files of another container are used. */
  readonly etc: EtcContent | undefined;
  readonly rootfsMounts: readonly RootfsMount[];
  readonly openStdin: boolean;
  readonly stdinOnce: boolean;
  readonly log: TaskLog;
  /** `flotilla`, or path of an OCI runtime. */
  readonly runtime: string;
}

/** Files of containers and facts of the host's file system. */
export interface Files {
  /** Paths of a container's hostname, hosts and resolv.conf. */
  etcPaths(containerId: string): { readonly hostname: string; readonly hosts: string; readonly resolvConf: string };
  /** Empty when the driver keeps no files. */
  logPath(containerId: string, driver: string): string;
  /** The host's own /etc/hosts and /etc/resolv.conf. */
  hostEtc(): { readonly hosts: string; readonly resolvConf: string };
  /** FAILED_PRECONDITION / LOG_DAEMON_NOT_RUNNING when a driver needs a daemon whose socket is not there. */
  checkLogDaemon(log: LogOptions): void;
  /** Writes a bundle. */
  writeBundle(bundle: Bundle): void;
  /** The spec of the current run. */
  readSpec(containerId: string): Spec;
  /** Bytes of what is kept of a container beside its snapshot: its logs, mostly. */
  stateSize(containerId: string): Promise<number>;
  /** Removes all that a container has on disk. */
  removeState(containerId: string): Promise<void>;
  /** A process with this number is there: cheap, and true for one that is being reaped. */
  processExists(pid: number): boolean;
  /** Calls back once when a process ends; undefined when there is none of that number. */
  watchProcess(pid: number, onEnd: () => void): Disposable | undefined;
  /** What a run has come to. */
  probe(containerId: string, run: number): TaskTruth;
  /** A container's init; undefined when it has ended. */
  findInit(containerId: string): InitProcess | undefined;
  /** How a run ended, if that has been written down. */
  findExit(containerId: string, run: number): ExitRecord | undefined;
  /** A shim has made a container in the folder of this one: of whatever run. */
  hasShim(containerId: string): boolean;
  /** Containers with a shim's folder or a state folder. */
  listShimDirs(): readonly string[];
  listStateDirs(): readonly string[];
  /** INVALID_FIELD when a source of a bind mount is not there (and may not be made). */
  prepareBindSource(path: string, create: boolean, field: string): void;
  /** FAILED_PRECONDITION / SOURCE_NOT_SHARED unless mounts in a source reach the container, or the container's reach the host. */
  checkPropagation(source: string, propagation: string, field: string): void;
  /** Nodes and rules of devices. INVALID_FIELD when one is not there. */
  devices(
    devices: readonly { readonly hostPath: string; readonly containerPath: string; readonly permissions: string }[],
    privileged: boolean,
  ): { readonly nodes: readonly LinuxDevice[]; readonly rules: readonly LinuxDeviceCgroup[] };
}

/** Where surprises that were survived are told. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
