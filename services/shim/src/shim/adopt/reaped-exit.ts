import { exitsDir, loadPaths } from '@flotilla/config/paths';
import { ExitFiles, type RecordedExit } from '@flotilla/linux';
import type { ExecFile } from '../task/exec-files.ts';

/** How a process ended that the launcher or the keeper has reaped, because its shim was dead; `undefined` if none has. */
export function findReaped(pid: number, startTime: number | undefined): RecordedExit | undefined {
  return startTime === undefined ? undefined : new ExitFiles(exitsDir(loadPaths())).find(pid, startTime);
}

/** The same of an exec. */
export function findReapedExec(file: ExecFile | undefined): RecordedExit | undefined {
  return file && findReaped(file.pid, file.startTime);
}
