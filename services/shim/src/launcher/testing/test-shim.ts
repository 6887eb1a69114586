import { readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeFd, exitNow, findProcess, getpid, poll, posixSpawn, waitpid, writeFd } from '@flotilla/linux';
import { restartLoop } from '@flotilla/linux/fork';
import { LauncherReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { encodeFrame } from '../frame.ts';
import type { RunShimOptions } from '../run-launcher.ts';

/** How a shim of the tests behaves: `behaviour` in its folder. */
type Behaviour = 'serve' | 'exit-early' | 'say-nothing' | 'refuse' | 'slow';

/** Stands for the real shim: its container is `sleep`. */
export async function runShim({ shimDir, run, readyFd, requestId, forkMode }: RunShimOptions): Promise<void> {
  const behaviour = readFileSync(join(shimDir, 'behaviour'), 'utf8') as Behaviour;
  if (behaviour === 'exit-early') exitNow(3);
  if (behaviour === 'say-nothing') poll([], 60_000);
  if (behaviour === 'slow') poll([], 300);
  if (behaviour === 'refuse') {
    const value = { code: 5, message: 'no such command', reason: 'COMMAND_NOT_FOUND', metadata: { command: 'x' } };
    answer(readyFd, LauncherReply.fromPartial({ reply: { $case: 'error', value } }));
    exitNow(1);
  }
  if (forkMode === 'fork') restartLoop();
  const initPid = posixSpawn({ path: '/bin/sleep', argv: ['sleep', '60'], env: [], fds: [0, 1, 2] });
  const pid = getpid();
  const record = { pid, startTime: findProcess(pid)!.startTime, run: String(run), initPid, warnings: ['one'] };
  writeFileSync(join(shimDir, 'shim.json'), JSON.stringify(record));
  const seen = { fds: await describeFds(readyFd), requestId, forkMode };
  writeFileSync(join(shimDir, 'seen.json'), JSON.stringify(seen));
  const value = { shimPid: pid, initPid, warnings: ['one'] };
  answer(readyFd, LauncherReply.fromPartial({ reply: { $case: 'launch', value } }));
  while (waitpid(initPid, { noHang: true }) === undefined) await sleep(20);
  exitNow(0);
}

function answer(readyFd: number, reply: LauncherReply): void {
  writeFd(readyFd, encodeFrame(LauncherReply.encode(reply).finish()));
  closeFd(readyFd);
}

/** What is open besides libuv's own: sockets, pipes to elsewhere, pidfds would be the launcher's. */
async function describeFds(readyFd: number): Promise<string[]> {
  const names: string[] = [];
  for (const fd of await readdir('/proc/self/fd')) {
    if (Number(fd) === readyFd) continue;
    try {
      names.push(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The descriptor that readdir itself had open.
    }
  }
  return names;
}
