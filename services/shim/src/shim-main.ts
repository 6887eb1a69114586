import { flushCompileCache } from 'node:module';
import process from 'node:process';
import { setCloseOnExec, setProcessName, umask } from '@flotilla/linux';
import { dieWithLauncher } from './launcher/die-with-launcher.ts';
import { decodeOrder } from './launcher/shim-task.ts';
import { runShim } from './shim/run-shim.ts';

// A shim that is a program by itself, for hosts where the launcher cannot fork. Argument: the order; descriptor 3 takes the
// answer to the launch, those from 4 on are what was kept of an earlier shim. The shim ends the process itself.
const readyFd = 3;
const { task, fdNames, launcherPid } = decodeOrder(process.argv[2] ?? '');
umask(0o077);
setProcessName('flotilla-shim');
using _bond = task.adopt ? dieWithLauncher(launcherPid) : undefined;
const fds = Object.fromEntries(fdNames.map((name, i) => [name, readyFd + 1 + i]));
for (const fd of [readyFd, ...Object.values(fds)]) setCloseOnExec(fd, true);
flushCompileCache(); // The process leaves by _exit, which does not: each shim would compile everything anew.
await runShim({ ...task, readyFd, forkMode: 'spawn', fds });
