import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProcess, getpid } from '@flotilla/linux';
import type { Bundle } from './bundle.ts';
import type { Init } from './task/init.ts';

/** `shim.json`: by which a supervisor that restarts, and the launcher, know this shim again. */
export interface ShimFile {
  readonly pid: number;
  /** Of this process, clock ticks after boot: proc_pid_stat(5). */
  readonly startTime: number;
  readonly run: string;
  readonly initPid: number;
  /** Of init; absent when it was gone already. */
  readonly initStartTime?: number | undefined;
  readonly warnings: readonly string[];
}

/** Writes it whole or not at all. It lives no longer than the boot, so it is not flushed. */
export function writeShimFile({ shimDir, options }: Bundle, init: Init): void {
  const pid = getpid();
  const content: ShimFile = {
    pid,
    startTime: findProcess(pid)!.startTime,
    run: String(options.run),
    initPid: init.pid,
    initStartTime: init.startTime ?? findProcess(init.pid)?.startTime,
    warnings: init.warnings,
  };
  const path = join(shimDir, 'shim.json');
  writeFileSync(`${path}.new`, JSON.stringify(content), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
