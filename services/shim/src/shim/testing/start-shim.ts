// Started by shim-rig.ts as the tests' launcher: runs one shim, in a verified fork of this process or in this process, and
// ends as it ends. Descriptor 3 gets the LauncherReply.
import { flushCompileCache } from 'node:module';
import process from 'node:process';
import type { Starter } from '@flotilla/libcontainer';
import { closeAllBut, exitNow, setChildSubreaper, waitpid } from '@flotilla/linux';
import { fork } from '@flotilla/linux/fork';
import { runShim } from '../run-shim.ts';

flushCompileCache(); // the process leaves by _exit, which would not
const readyFd = 3;
const [forkMode, shimDir, containerId, run, old] = process.argv.slice(2) as [Starter, string, string, string, string];
const options = { shimDir, containerId, run: BigInt(run), requestId: 'test', readyFd, forkMode, ...JSON.parse(old) };

if (forkMode === 'spawn' || !forked()) await runShim(options);

/** False in the child. */
function forked(): boolean {
  setChildSubreaper(true);
  const pid = fork();
  if (pid === 0) return false;
  closeAllBut([]); // a copy of a container's input would keep it open
  exitNow(waitpid(pid).exitCode);
}
