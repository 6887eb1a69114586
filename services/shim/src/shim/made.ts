import type { Logger } from '@flotilla/log';
import type { EndedExec } from './adopt/orphaned-execs.ts';
import type { Bundle } from './bundle.ts';
import type { Ledger } from './output/ledger.ts';
import type { RecordedOutput } from './output/recorded-output.ts';
import type { StreamEnds } from './streams/stdio.ts';
import type { AdoptedExec } from './task/exec-table.ts';
import type { Init } from './task/init.ts';

/** What a shim has of its container before it serves it. */
export interface Made {
  readonly bundle: Bundle;
  readonly log: Logger;
  readonly init: Init;
  /** Of init. */
  readonly ends: StreamEnds;
  readonly output: RecordedOutput;
  readonly ledger: Ledger;
  /** Made by another shim, whose place this one takes: init is not its child. */
  readonly adopted?: { readonly execs: readonly AdoptedExec[]; readonly endedExecs: readonly EndedExec[] };
}

/** Descriptors that must outlive this process, for the launcher to keep: LaunchReply.kept_descriptors. */
export function keptDescriptors({ ends, output }: Made): Readonly<Record<string, number>> {
  const { terminalFd, stdinFd, stdoutFd, stderrFd } = ends;
  const all = { terminal: terminalFd, staging: output.stagingFd, stdin: stdinFd, stdout: stdoutFd, stderr: stderrFd };
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, number] => entry[1] !== undefined));
}
