import process from 'node:process';
import { setProcessName, umask } from '@flotilla/linux';
import { runShim } from './shim/run-shim.ts';

// A shim that is a program by itself, for hosts where the launcher cannot fork. Arguments: container id, number of the
// run, shim folder, request id; descriptor 3 takes the answer to the launch. The shim ends the process itself.
const [containerId = '', run = '', shimDir = '', requestId = ''] = process.argv.slice(2);
umask(0o077);
setProcessName('flotilla-shim');
await runShim({ containerId, run: BigInt(run), shimDir, requestId, readyFd: 3, forkMode: 'spawn' });
