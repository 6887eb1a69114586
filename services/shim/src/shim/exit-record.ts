import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { getpid, isErrno } from '@flotilla/linux';

/** How a task ended: `exit.json` in the container's state folder, in the manner of proto3 JSON (64-bit numbers as text). */
export interface ExitRecord {
  readonly containerId: string;
  readonly run: bigint;
  /** 0 to 255, 128 + signal when killed. */
  readonly exitCode: number;
  readonly signal?: number | undefined;
  readonly oomKilled: boolean;
  readonly exitedAtUnixNano: bigint;
  /** Written by the shim, once the container's output was in the log. */
  readonly drained?: boolean;
}

const fileName = 'exit.json';

/**
 * Writes the record so that the crash of a process at any moment leaves either no record or a whole one, also when shim and
 * launcher do so at once: one that says more stays. It is flushed in its place, not before it is there, so that one flush makes content and name
 * survive power loss (of a file that was renamed, ext4, XFS and Btrfs flush the name too). Power loss in between may leave
 * it empty: nobody has been told by then.
 */
export function writeExitRecord(stateDir: string, record: ExitRecord): void {
  const path = join(stateDir, fileName);
  const whole = `${path}.${getpid()}`;
  const fd = openSync(whole, 'w', 0o600);
  try {
    const { run, exitedAtUnixNano, ...rest } = record;
    writeSync(fd, JSON.stringify({ ...rest, run: String(run), exitedAtUnixNano: String(exitedAtUnixNano) }));
    if (isBetter(findExitRecord(stateDir), record)) rmSync(whole);
    else renameSync(whole, path);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Of a later run; or of the same one, by the shim, which knows that the output is in the log. */
function isBetter(there: ExitRecord | undefined, { run, drained }: ExitRecord): boolean {
  if (there === undefined || there.run < run) return false;
  return there.run > run || (there.drained === true && drained !== true);
}

/** The last run's record; `undefined` when there is none, or what power loss has left of one. */
export function findExitRecord(stateDir: string): ExitRecord | undefined {
  try {
    const { run, exitedAtUnixNano, ...rest } = JSON.parse(readFileSync(join(stateDir, fileName), 'utf8')) as Omit<
      ExitRecord,
      'run' | 'exitedAtUnixNano'
    > & { readonly run: string; readonly exitedAtUnixNano: string };
    return { ...rest, run: BigInt(run), exitedAtUnixNano: BigInt(exitedAtUnixNano) };
  } catch (error) {
    if (isErrno(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
