import type { ContainerCgroup } from '@flotilla/libcontainer';

/** A container's first process, made by this shim or by one whose place it takes. */
export interface Init {
  /** On the host. */
  readonly pid: number;
  /** Clock ticks after boot, where it is known from an earlier shim; it may have been gone by now. */
  readonly startTime?: number | undefined;
  /** `undefined` when it was gone before this shim came. */
  readonly pidfd: number | undefined;
  readonly warnings: readonly string[];
  readonly cgroup: ContainerCgroup;
  /** As CreatedInit.release. */
  release(): void;
  /** SIGKILL; nothing when it is gone. */
  kill(): void;
}
