import type { LinuxResources, Process, Spec } from '@flotilla/oci';
import type { RootfsMount, Starter } from '../index.ts';
import type { ErrorMessage } from '../setup-error.ts';

/** A container to run in a test. Paths to look at may name init's pid as `{pid}`. */
export interface Scenario {
  readonly starter: Starter;
  readonly spec: Spec;
  readonly containerId: string;
  readonly bundleDir: string;
  readonly rootfsMounts: readonly RootfsMount[];
  readonly terminal?: { readonly columns: number; readonly rows: number };
  readonly execs?: readonly { readonly process: Process; readonly terminal?: boolean }[];
  readonly actions?: readonly ('freeze' | 'thaw' | LinuxResources)[];
  readonly lookBefore?: readonly string[];
  readonly lookDuring?: readonly string[];
  /** With mode fork: not in a forked shim of one thread, but here. */
  readonly threads?: boolean;
  /** Init does not end by itself. */
  readonly killAfter?: boolean;
}

/** How an exec went. */
export interface ExecResult {
  readonly error?: ErrorMessage;
  readonly exitCode?: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal?: string;
}

/** How it went. */
export interface Result extends ExecResult {
  readonly signal?: number | undefined;
  readonly warnings?: readonly string[];
  readonly before?: Readonly<Record<string, string>>;
  readonly during?: Readonly<Record<string, string>>;
  readonly execs?: readonly ExecResult[];
  readonly oomKills?: number;
}
