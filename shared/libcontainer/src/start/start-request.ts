import type { Work } from '../child/run-work.ts';

/**
 * How a child is made. `fork`: a verified fork of this process, which must run with `--single-threaded --v8-pool-size=0`.
 * `spawn`: this Node.js anew; slower by 100 ms, works everywhere.
 */
export type Starter = 'fork' | 'spawn';

/** A child of this process. */
export interface Child {
  readonly pid: number;
  readonly pidfd: number;
}

/** Which pid namespace the child is born into. */
export type PidNamespace =
  | { readonly kind: 'same' }
  | { readonly kind: 'new' }
  /** Descriptor of a namespace file or of a pidfd. */
  | { readonly kind: 'joined'; readonly fd: number };

/** A child to make. */
export interface StartRequest {
  /** What it does; `bornIntoV2` says that it is in its cgroup v2 group already. */
  readonly work: (bornIntoV2: boolean) => Work;
  readonly channelFd: number;
  /** Descriptors that the work names, besides the channel. */
  readonly fds: readonly number[];
  readonly pidNamespace: PidNamespace;
  readonly cgroupFd: number | undefined;
}
