import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nowUnixNano } from './clock.ts';
import type { ProcessExit } from './pidfd.ts';
import { isErrno } from './syscall-error.ts';

/** Whoever needed it has read it by then. */
const keptMs = 3_600_000;

/** A process that its parent wrote down. */
export interface RecordedExit extends ProcessExit {
  readonly exitedAtUnixNano: bigint;
}

/**
 * How processes ended that were reaped by somebody to whom they meant nothing: `<pid>-<start time>.json` in a folder, with
 * {exitCode, signal?, exitedAtUnixNano}. For those to whom they did mean something, and who came too late to hold a pidfd.
 */
export class ExitFiles {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** To be called before the process is reaped: who sees it gone finds this. Takes away what is older than an hour. */
  write(pid: number, startTime: number, { exitCode, signal }: ProcessExit): void {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    this.#sweep();
    const path = this.#path(pid, startTime);
    const text = JSON.stringify({ exitCode, signal, exitedAtUnixNano: String(nowUnixNano()) });
    writeFileSync(`${path}.new`, `${text}\n`, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** `startTime`: clock ticks after boot, proc_pid_stat(5). */
  find(pid: number, startTime: number): RecordedExit | undefined {
    try {
      const { exitCode, signal, exitedAtUnixNano } = JSON.parse(readFileSync(this.#path(pid, startTime), 'utf8'));
      return { exitCode, signal, exitedAtUnixNano: BigInt(exitedAtUnixNano) };
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  #path(pid: number, startTime: number): string {
    return join(this.folder, `${pid}-${startTime}.json`);
  }

  #sweep(): void {
    for (const name of readdirSync(this.folder)) {
      const path = join(this.folder, name);
      const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? {};
      if (mtimeMs !== undefined && mtimeMs < Date.now() - keptMs) rmSync(path, { force: true });
    }
  }
}
