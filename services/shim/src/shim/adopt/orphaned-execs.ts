import { closeFd, isErrno, nowUnixNano, pidfdSendSignal, SIGKILL } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { Bundle } from '../bundle.ts';
import type { Exit } from '../task/exec.ts';
import { type ExecFile, readExecFiles } from '../task/exec-files.ts';
import type { AdoptedExec } from '../task/exec-table.ts';
import { killedExit, unknownExit } from './adopted-exit.ts';
import { openIfSame } from './adopted-init.ts';
import { findReapedExec } from './reaped-exit.ts';

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
    const exit = exitOf(file);
    log.warn({ execId, execPid: pid, detach, exitCode: exit.exitCode }, 'an exec has lost its shim');
    ended.push({ execId, ...exit });
  }
  return { running, ended };
}

/**
 * As its shim has written it down. Without that, of one whose streams were cut it is not asked how it ended then: what it
 * had to say has not arrived. Of others whoever has reaped it knows.
 */
function exitOf({ exit, ...file }: ExecFile): Exit {
  if (exit !== undefined) return { exitCode: exit.exitCode, exitedAtUnixNano: BigInt(exit.exitedAtUnixNano) };
  const reaped = file.detach ? findReapedExec(file) : undefined;
  const { exitCode } = reaped ?? (file.detach ? unknownExit : killedExit);
  return { exitCode, exitedAtUnixNano: reaped?.exitedAtUnixNano ?? nowUnixNano() };
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
