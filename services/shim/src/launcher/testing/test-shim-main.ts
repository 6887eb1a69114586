import { runShim } from './test-shim.ts';

const [containerId = '', run = '', shimDir = '', requestId = ''] = process.argv.slice(2);
await runShim({ containerId, run: BigInt(run), shimDir, requestId, readyFd: 3, forkMode: 'spawn' });
