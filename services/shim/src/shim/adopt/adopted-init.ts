import { FlotillaError } from '@flotilla/errors';
import { ContainerCgroup } from '@flotilla/libcontainer';
import { closeFd, findProcess, isErrno, pidfdOpen, pidfdSendSignal, SIGKILL } from '@flotilla/linux';
import type { ShimFile } from '../shim-file.ts';
import type { Init } from '../task/init.ts';

/** An init that another shim has made. */
export class AdoptedInit implements Init {
  readonly pid: number;
  readonly startTime: number | undefined;
  readonly pidfd: number | undefined;
  readonly warnings: readonly string[];
  readonly cgroup: ContainerCgroup;

  /** `keptPidfd`: opened by somebody who knew it; becomes this one's. */
  constructor({ initPid, initStartTime, warnings }: ShimFile, cgroupsPath: string, keptPidfd: number | undefined) {
    this.pid = initPid;
    this.startTime = initStartTime;
    this.pidfd = keptPidfd ?? openIfSame(initPid, initStartTime);
    this.warnings = warnings;
    this.cgroup = ContainerCgroup.open(cgroupsPath);
  }

  /** The channel on which it waited has gone with the shim that made it, and it with the channel. */
  release(): void {
    throw new FlotillaError('aborted', 'the shim that had made the container was killed before it was started', {
      reason: 'SHIM_LOST',
    });
  }

  kill(): void {
    try {
      if (this.pidfd !== undefined) pidfdSendSignal(this.pidfd, SIGKILL);
    } catch (error) {
      if (!isErrno(error, 'ESRCH')) throw error;
    }
  }
}

/** The pidfd first: the process that is looked at then cannot become another. */
export function openIfSame(pid: number, startTime: number | undefined): number | undefined {
  try {
    const pidfd = pidfdOpen(pid);
    const found = findProcess(pid);
    if (found !== undefined && (startTime === undefined || found.startTime === startTime)) return pidfd;
    closeFd(pidfd);
    return undefined;
  } catch (error) {
    if (isErrno(error, 'ESRCH', 'EINVAL')) return undefined; // EINVAL: a thread's id now
    throw error;
  }
}
