import { closeSync, openSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { serialize } from 'node:v8';
import { createMemoryFile, posixSpawn } from '@flotilla/linux';
import type { StartRequest } from './start-request.ts';

const stagePath = fileURLToPath(new URL('./stage.ts', import.meta.url));
const nodeFlags = ['--single-threaded', '--v8-pool-size=0', '--disable-warning=ExperimentalWarning'];

/** Starts this Node.js anew on stage.ts, which reads its work from a file without a name. Descriptors keep their numbers. */
export function spawnStage({ work, channelFd, fds }: StartRequest): number {
  const nullFd = openSync('/dev/null', 'r+');
  const workFd = createMemoryFile('flotilla-work');
  try {
    writeAll(workFd, serialize(work(false)));
    const needed = [0, 1, 2, channelFd, workFd, ...fds];
    const placed = Array.from({ length: Math.max(...needed) + 1 }, (_, fd) => (needed.includes(fd) ? fd : nullFd));
    return posixSpawn({
      path: '/proc/self/exe', // of the child, whose memory is still this process's: the very binary that runs here
      argv: [process.execPath, ...nodeFlags, stagePath, String(workFd), String(channelFd)],
      env: process.env.NODE_COMPILE_CACHE ? [`NODE_COMPILE_CACHE=${process.env.NODE_COMPILE_CACHE}`] : [],
      fds: placed,
    });
  } finally {
    closeSync(workFd);
    closeSync(nullFd);
  }
}

function writeAll(fd: number, data: Buffer): void {
  for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
}
