import { dieWithLauncher } from '../die-with-launcher.ts';
import { decodeOrder } from '../shim-task.ts';
import { runShim } from './test-shim.ts';

const { task, fdNames, launcherPid } = decodeOrder(process.argv[2] ?? '');
using _bond = task.adopt ? dieWithLauncher(launcherPid) : undefined;
const fds = Object.fromEntries(fdNames.map((name, i) => [name, 4 + i]));
await runShim({ ...task, readyFd: 3, forkMode: 'spawn', fds });
