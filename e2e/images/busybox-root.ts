import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../harness/run-program.ts';

const busybox = '/bin/busybox';

/** Makes a root file system of the host's static busybox, with a link for each of its commands, in a new folder. */
export async function makeBusyboxRoot(folder: string): Promise<void> {
  for (const name of ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp'])
    mkdirSync(join(folder, name), { recursive: true });
  copyFileSync(busybox, join(folder, 'bin/busybox'));
  const commands = (await mustRun(busybox, ['--list'])).trim().split('\n');
  for (const command of commands) if (command !== 'busybox') symlinkSync('busybox', join(folder, 'bin', command));
  writeFileSync(join(folder, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(folder, 'etc/group'), 'root:x:0:\n');
}
