import { join } from 'node:path';
import { closeFd, getpid, pidfdGetFd, pidfdOpen, pidfdSendSignal, SIGKILL } from '@flotilla/linux';
import { ShimServiceService } from '@flotilla/proto/flotilla/shim/v1/shim';
import { connect } from '@flotilla/rpc';
import type { AdoptedExec } from '../task/exec-table.ts';
import { untilGone } from './adopted-exit.ts';

/** What another shim gives, besides what is kept elsewhere. */
export interface TakenOver {
  readonly descriptors: Readonly<Record<string, number>>;
  readonly execs: readonly AdoptedExec[];
}

/**
 * Has a shim that lives hand its container over, and ends it: from then on nobody but this one touches the container. Fails,
 * with the old one going on as before, when it does not answer.
 */
export async function takeOver(shimDir: string, shimPid: number): Promise<TakenOver> {
  const pidfd = pidfdOpen(shimPid);
  const copied: number[] = [];
  const copy = (fd: number): number => {
    const own = pidfdGetFd(pidfd, fd);
    copied.push(own);
    return own;
  };
  try {
    using old = connect(ShimServiceService, { address: `unix://${join(shimDir, 'shim.sock')}`, name: 'shim' });
    const answer = await old.handOver({ shimPid: getpid() });
    const descriptors = copyAll(answer.descriptors, copy);
    const execs = answer.execs.map(({ execId, pid, descriptors: of, opened, exitCode, exitedAtUnixNano }) => {
      const { pidfd: execPidfd = -1, terminal, stdin, stdout, stderr } = copyAll(of, copy);
      const ends = { terminalFd: terminal, stdinFd: stdin, stdoutFd: stdout, stderrFd: stderr };
      const exit = exitCode === undefined ? undefined : { exitCode, exitedAtUnixNano };
      return { execId, pid, pidfd: execPidfd, ends, opened, exit };
    });
    pidfdSendSignal(pidfd, SIGKILL);
    await untilGone(pidfd);
    return { descriptors, execs };
  } catch (error) {
    for (const fd of [...copied, pidfd]) closeFd(fd);
    throw error;
  }
}

function copyAll(from: Readonly<Record<string, number>>, copy: (fd: number) => number): Record<string, number> {
  return Object.fromEntries(Object.entries(from).map(([name, fd]) => [name, copy(fd)]));
}
