import { fstatSync, renameSync, writeFileSync } from 'node:fs';
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
  /** What the launcher keeps copies of, by name, for one that has none; absent in files of earlier releases. */
  readonly descriptors?: Readonly<Record<string, DescriptorPlace>>;
}

/** A descriptor of a shim. */
export interface DescriptorPlace {
  readonly fd: number;
  /** {@link identityOf} it: once it is closed, its number may be another's. */
  readonly identity: string;
}

/** What tells an open pipe, FIFO or terminal from others. */
export function identityOf(fd: number): string {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return `${dev}:${ino}`;
}

/** Where descriptors are, for a {@link ShimFile}. */
export function placesOf(descriptors: Readonly<Record<string, number>>): Record<string, DescriptorPlace> {
  return Object.fromEntries(Object.entries(descriptors).map(([name, fd]) => [name, { fd, identity: identityOf(fd) }]));
}

/** Writes it whole or not at all. It lives no longer than the boot, so it is not flushed. */
export function writeShimFile(
  { shimDir, options }: Bundle,
  init: Init,
  descriptors: Readonly<Record<string, number>>,
): void {
  const pid = getpid();
  const content: ShimFile = {
    pid,
    startTime: findProcess(pid)!.startTime,
    run: String(options.run),
    initPid: init.pid,
    initStartTime: init.startTime ?? findProcess(init.pid)?.startTime,
    warnings: init.warnings,
    descriptors: placesOf(descriptors),
  };
  const path = join(shimDir, 'shim.json');
  writeFileSync(`${path}.new`, JSON.stringify(content), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
