import { rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerCgroup } from '@flotilla/libcontainer';
import { isErrno } from '@flotilla/linux';
import type { Logger } from '@flotilla/log';
import type { Bundle } from './bundle.ts';
import { removeLedger } from './output/ledger.ts';
import { removeRecordedOutput } from './output/recorded-output.ts';
import { fifoNames } from './streams/stdio.ts';
import { execFolder } from './task/exec-files.ts';

/** Removes the cgroup and the shim's folder. What is left is swept by the supervisor. */
export function cleanUp({ shimDir }: Bundle, cgroup: ContainerCgroup | undefined, log: Logger): void {
  try {
    cgroup?.remove();
  } catch (error) {
    log.warn({ err: error }, 'the cgroup could not be removed');
  }
  removeRecordedOutput(shimDir);
  removeLedger(shimDir);
  for (const name of [...fifoNames, 'shim.sock', 'shim.json', 'config.json', 'task.json']) {
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
