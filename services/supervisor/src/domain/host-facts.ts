/** What rules need to know of the host. Read once when the supervisor starts. */
export interface HostFacts {
  /** `x64` or `arm64`. */
  readonly arch: string;
  /** Kernel release, `6.1.0-13-amd64`. */
  readonly kernelRelease: string;
  readonly cgroupMode: 'v1' | 'hybrid' | 'v2';
  /** Controllers that can be used: `memory`, `cpu`, `pids`, … */
  readonly controllers: ReadonlySet<string>;
  /** The kernel accounts for swap. */
  readonly swapLimit: boolean;
  /** cpuset(7) lists: `0-3`. */
  readonly onlineCpus: string;
  readonly memoryNodes: string;
  /** Paths of the OCI runtimes that are installed, by name, besides our own. */
  readonly runtimes: ReadonlyMap<string, string>;
  /** Path of the init that `--init` runs, undefined when it is not installed. */
  readonly initPath: string | undefined;
  readonly selinux: boolean;
  readonly hostname: string;
}
