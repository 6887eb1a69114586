import { rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerCgroup } from '@flotilla/libcontainer';
import { getpid, isErrno } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import { findShimRecord } from '../launcher/shim-record.ts';
import type { Bundle } from './bundle.ts';
import { removeLedger } from './output/ledger.ts';
import { removeRecordedOutput } from './output/recorded-output.ts';
import { fifoNames } from './streams/stdio.ts';
import { execFolder } from './task/exec-files.ts';

/** Whether a folder has this shim's name: it is the next run's, or another shim's, once it has not. */
export function isOwn({ shimDir }: Bundle): boolean {
  return findShimRecord(shimDir)?.pid === getpid();
}

/**
 * Removes the cgroup and the shim's folder, unless they are another's by now: of the next run, or of a shim that has taken
 * over. The shim's name goes first: killed after that it gets no successor, which would find half of a container, and what is
 * left is swept by the supervisor.
 */
export function cleanUp({ shimDir }: Bundle, cgroup: ContainerCgroup | undefined, log: Logger): void {
  const owner = findShimRecord(shimDir)?.pid ?? getpid();
  if (owner !== getpid()) return;
  rmSync(join(shimDir, 'shim.json'), { force: true });
  try {
    cgroup?.remove();
  } catch (error) {
    log.warn({ err: error }, 'the cgroup could not be removed');
  }
  removeRecordedOutput(shimDir);
  removeLedger(shimDir);
  for (const name of [...fifoNames, 'shim.sock', 'config.json', 'task.json']) {
    rmSync(join(shimDir, name), { force: true });
  }
  rmSync(join(shimDir, execFolder), { recursive: true, force: true });
  for (const folder of [join(shimDir, 'rootfs'), shimDir]) {
    try {
      rmdirSync(folder); // never recursive: a rootfs that somebody mounted here is not ours to empty
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTEMPTY')) log.warn({ err: error, folder }, 'a folder could not be removed');
    }
  }
}
