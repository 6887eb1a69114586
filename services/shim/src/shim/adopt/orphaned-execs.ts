import { closeFd, isErrno, nowUnixNano, pidfdSendSignal, SIGKILL } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { Bundle } from '../bundle.ts';
import type { Exit } from '../task/exec.ts';
import { type ExecFile, readExecFiles } from '../task/exec-files.ts';
import type { AdoptedExec } from '../task/exec-table.ts';
import { openIfSame } from './adopted-init.ts';

/** Of an exec whose streams went with its shim: SIGKILL. */
const killedExitCode = 137;

/** What is to become of the execs of a shim that was killed. */
export interface OrphanedExecs {
  /** They go on: nobody reads their output. */
  readonly running: readonly AdoptedExec[];
  /** Ended, and nobody was told. */
  readonly ended: readonly EndedExec[];
}

export type EndedExec = Exit & { readonly execId: string };

/**
 * Execs go on when they are detached. Others have lost their streams with the shim: they are killed, or they would wait for
 * ever for somebody who reads.
 */
export function orphanedExecs({ shimDir }: Bundle, known: readonly AdoptedExec[], log: Logger): OrphanedExecs {
  const running: AdoptedExec[] = [];
  const ended: EndedExec[] = [];
  for (const file of readExecFiles(shimDir)) {
    const { execId, pid, detach } = file;
    if (known.some((one) => one.execId === execId && one.exit === undefined)) continue;
    const pidfd = file.exit === undefined ? openIfSame(pid, file.startTime) : undefined;
    if (pidfd !== undefined && detach) {
      running.push({ execId, pid, pidfd, ends: {}, opened: true });
      continue;
    }
    if (pidfd !== undefined) kill(pidfd);
    log.warn({ execId, execPid: pid, detach }, 'an exec has lost its shim');
    ended.push({ execId, ...exitOf(file) });
  }
  return { running, ended };
}

function exitOf({ exit }: ExecFile): Exit {
  if (exit === undefined) return { exitCode: killedExitCode, exitedAtUnixNano: nowUnixNano() };
  return { exitCode: exit.exitCode, exitedAtUnixNano: BigInt(exit.exitedAtUnixNano) };
}

function kill(pidfd: number): void {
  try {
    pidfdSendSignal(pidfd, SIGKILL);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  } finally {
    closeFd(pidfd);
  }
}
