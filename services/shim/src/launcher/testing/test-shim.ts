import { readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  closeFd,
  exitNow,
  findProcess,
  getpid,
  kill,
  pipe2,
  poll,
  posixSpawn,
  SIGKILL,
  sendFds,
  waitpid,
  writeFd,
} from '@flotilla/linux';
import { restartLoop } from '@flotilla/linux/fork';
import { LauncherReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { placesOf } from '../../shim/shim-file.ts';
import { writeExecFile } from '../../shim/task/exec-files.ts';
import { encodeFrame } from '../frame.ts';
import type { RunShimOptions } from '../run-launcher.ts';

/** How a shim of the tests behaves: `behaviour` in its folder, read by each shim when it starts. */
type Behaviour = 'serve' | 'exit-early' | 'say-nothing' | 'refuse' | 'slow' | 'kept' | 'die-serving' | 'exec';

interface Served {
  readonly initPid: number;
  /** Of `stdin`, the writing end of the container's input. */
  readonly kept: Readonly<Record<string, number>>;
}

/** Stands for the real shim: its container is `sleep`, or, with kept descriptors, a shell that writes its input down. */
export async function runShim(options: RunShimOptions): Promise<void> {
  const { shimDir, run, readyFd, requestId, forkMode, adopt, replaces, fds } = options;
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
  if (replaces !== 0) kill(replaces, SIGKILL);
  const pid = getpid();
  const seen = { fds: await describeFds(readyFd), requestId, forkMode, adopt, replaces, kept: namesOf(fds), pid };
  const { initPid, kept } = adopt ? { initPid: recordedInit(shimDir), kept: fds } : makeContainer(shimDir, behaviour);
  const held = Object.values(namesOf(kept));
  const startTime = findProcess(pid)!.startTime;
  const initStartTime = findProcess(initPid)?.startTime;
  writeWhole(shimDir, 'shim.json', {
    pid,
    startTime,
    run: String(run),
    initPid,
    initStartTime,
    warnings: ['one'],
    descriptors: placesOf(kept),
  });
  writeWhole(shimDir, 'seen.json', { ...seen, held });
  const keptDescriptors = adopt ? [] : Object.keys(kept);
  const value = { shimPid: pid, initPid, warnings: ['one'], keptDescriptors };
  answer(readyFd, LauncherReply.fromPartial({ reply: { $case: 'launch', value } }), adopt ? [] : Object.values(kept));
  if (behaviour === 'exec') startExec(shimDir);
  if (behaviour === 'die-serving') exitNow(7);
  await untilOver(shimDir, initPid, kept.stdin);
  rmSync(join(shimDir, 'shim.json'));
  exitNow(0);
}

function makeContainer(shimDir: string, behaviour: Behaviour): Served {
  const env = [`FLOTILLA_RUN=${process.env.FLOTILLA_RUN}`]; // By which the test finds it.
  if (behaviour !== 'kept') {
    return { initPid: posixSpawn({ path: '/bin/sleep', argv: ['sleep', '60'], env, fds: [0, 1, 2] }), kept: {} };
  }
  const { readFd, writeFd: stdin } = pipe2();
  const argv = ['sh', '-c', `cat > ${shimDir}/input; echo end >> ${shimDir}/input; exec sleep 60`];
  const initPid = posixSpawn({ path: '/bin/sh', argv, env: [...env, 'PATH=/usr/bin:/bin'], fds: [readFd, 1, 2] });
  closeFd(readFd);
  return { initPid, kept: { stdin } };
}

/** Its code is 7 when it is asked to end. */
function startExec(shimDir: string): void {
  const env = [`FLOTILLA_RUN=${process.env.FLOTILLA_RUN}`, 'PATH=/usr/bin:/bin'];
  const argv = ['sh', '-c', 'trap "exit 7" TERM; while :; do sleep 0.05; done'];
  const pid = posixSpawn({ path: '/bin/sh', argv, env, fds: [0, 1, 2] });
  writeExecFile(shimDir, { execId: 'x', pid, startTime: findProcess(pid)!.startTime, detach: true });
}

/** Lines in `type` go to the container's input; `close` closes it. Over once init is gone. */
async function untilOver(shimDir: string, initPid: number, stdin: number | undefined): Promise<void> {
  let isOpen = stdin !== undefined;
  while (!hasEnded(initPid)) {
    const text = take(join(shimDir, 'type'));
    if (isOpen && text === 'close') {
      closeFd(stdin!);
      isOpen = false;
    } else if (isOpen && text !== undefined) writeFd(stdin!, Buffer.from(text));
    await sleep(20);
  }
}

function hasEnded(initPid: number): boolean {
  try {
    return waitpid(initPid, { noHang: true }) !== undefined;
  } catch {
    return findProcess(initPid) === undefined; // Adopted: somebody else reaps it.
  }
}

function take(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8');
    rmSync(path);
    return text;
  } catch {
    return undefined;
  }
}

function recordedInit(shimDir: string): number {
  return JSON.parse(readFileSync(join(shimDir, 'shim.json'), 'utf8')).initPid;
}

function writeWhole(shimDir: string, name: string, content: object): void {
  writeFileSync(join(shimDir, `${name}.new`), JSON.stringify(content));
  renameSync(join(shimDir, `${name}.new`), join(shimDir, name));
}

/** What each descriptor is. */
function namesOf(fds: Readonly<Record<string, number>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fds).map(([name, fd]) => [name, readlinkSync(`/proc/self/fd/${fd}`)]));
}

function answer(readyFd: number, reply: LauncherReply, kept: readonly number[] = []): void {
  const frame = encodeFrame(LauncherReply.encode(reply).finish());
  if (kept.length === 0) writeFd(readyFd, frame);
  else sendFds(readyFd, frame, kept);
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
