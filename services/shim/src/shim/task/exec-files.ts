import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '@flotilla/linux';
import type { Exit } from './exec.ts';

/** Folder of {@link ExecFile}s in the shim's. */
export const execFolder = 'execs';

/** What a shim that takes over must know of an exec whose exit the supervisor has not taken yet. */
export interface ExecFile {
  readonly execId: string;
  /** On the host; 0 while it is being started. */
  readonly pid: number;
  /** Clock ticks after boot: proc_pid_stat(5). */
  readonly startTime: number;
  /** Nobody reads its output. */
  readonly detach: boolean;
  /** Once it has ended. */
  readonly exit?: { readonly exitCode: number; readonly exitedAtUnixNano: string };
}

/** Writes it whole or not at all. */
export function writeExecFile(shimDir: string, file: ExecFile): void {
  const path = join(shimDir, execFolder, file.execId);
  const text = JSON.stringify(file);
  try {
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
    mkdirSync(join(shimDir, execFolder), { mode: 0o700 });
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
  }
  renameSync(`${path}.new`, path);
}

/** Adds how it ended. */
export function writeExecExit(shimDir: string, execId: string, { exitCode, exitedAtUnixNano }: Exit): void {
  const before = readExecFile(shimDir, execId);
  if (before === undefined) throw new Error(`there is no file of exec ${execId} in ${shimDir}`);
  writeExecFile(shimDir, { ...before, exit: { exitCode, exitedAtUnixNano: String(exitedAtUnixNano) } });
}

export function removeExecFile(shimDir: string, execId: string): void {
  rmSync(join(shimDir, execFolder, execId), { force: true });
}

export function readExecFiles(shimDir: string): readonly ExecFile[] {
  return listNames(join(shimDir, execFolder))
    .filter((name) => !name.endsWith('.new'))
    .map((execId) => readExecFile(shimDir, execId))
    .filter((file) => file !== undefined);
}

/** `undefined` when there is none any more. */
export function readExecFile(shimDir: string, execId: string): ExecFile | undefined {
  try {
    return JSON.parse(readFileSync(join(shimDir, execFolder, execId), 'utf8')) as ExecFile;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function listNames(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
