import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno, nowUnixNano, type ProcessExit } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import { TaskOptions } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { findExitRecord, writeExitRecord } from '../shim/exit-record.ts';
import { hasRun } from '../shim/output/ledger.ts';
import type { KeptContainer } from './kept-container.ts';
import { wasOomKilled } from './oom-killed.ts';

/** Does for a container what its shim would have done: its exit status is on disk, unless it is there already. */
export function keepExit({ task, init }: KeptContainer, log: Logger): void {
  const exit = init?.exit;
  if (exit === undefined) return; // Its new shim has to find out, or nobody can.
  const { containerId, run, shimDir } = task;
  const fields = { containerId, run: Number(run), initPid: init?.pid, ...describe(exit) };
  try {
    if (!hasRun(shimDir, exit.exitCode)) return;
    const { stateDir, cgroupParent } = readTaskOptions(shimDir);
    if (findExitRecord(stateDir)?.run === run) return;
    writeExitRecord(stateDir, {
      containerId,
      run,
      exitCode: exit.exitCode,
      signal: exit.signal,
      oomKilled: wasOomKilled(`${cgroupParent}/${containerId}`),
      exitedAtUnixNano: nowUnixNano(),
    });
    log.info(fields, 'container has exited whose parent is gone');
  } catch (err) {
    if (isErrno(err, 'ENOENT')) return; // Its folder is gone: its new shim has done all that.
    log.error({ ...fields, err }, 'exit status of a container could not be recorded');
  }
}

function readTaskOptions(shimDir: string): TaskOptions {
  return TaskOptions.fromJSON(JSON.parse(readFileSync(join(shimDir, 'task.json'), 'utf8')));
}

/** Fields for the log. */
export function describe(exit: ProcessExit | undefined): { readonly exitCode?: number; readonly exitSignal?: number } {
  if (exit === undefined) return {};
  const { exitCode, signal } = exit;
  return signal === undefined ? { exitCode } : { exitCode, exitSignal: signal };
}
