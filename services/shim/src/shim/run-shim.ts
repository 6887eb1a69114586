import { fstatSync } from 'node:fs';
import process from 'node:process';
import { FlotillaError } from '@flotilla/errors';
import type { Starter } from '@flotilla/libcontainer';
import { closeFd, exitNow, getpid, isErrno, sendFds, setChildSubreaper, setsid, writeFd } from '@flotilla/linux';
import { restartLoop } from '@flotilla/linux/fork';
import { withRequestId } from '@flotilla/log';
import { LauncherReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { toGrpcStatus } from '@flotilla/rpc';
import { encodeFrame } from '../launcher/frame.ts';
import { adoptContainer } from './adopt/adopt-container.ts';
import { readBundle } from './bundle.ts';
import { keptDescriptors, type Made } from './made.ts';
import { makeContainer, undo } from './make-container.ts';
import { serveTask } from './serve-task.ts';

export interface ShimOptions {
  readonly shimDir: string;
  readonly containerId: string;
  readonly run: bigint;
  readonly requestId: string;
  /** A unix socket: gets a length-delimited LauncherReply, once the container is made and the shim serves, or has failed. */
  readonly readyFd: number;
  /** `fork`: this process is a fresh fork of a warm, single-threaded template. `spawn`: it is a Node.js of its own. */
  readonly forkMode: Starter;
  /** The container is there, and has lost its shim, or is to have another. */
  readonly adopt?: boolean;
  /** Process id of the shim that is to be replaced; 0 or absent when it is dead. */
  readonly replaces?: number;
  /** What was kept of that shim's descriptors, by name. */
  readonly fds?: Readonly<Record<string, number>>;
}

/**
 * The shim of one container: makes its init, serves ShimService, logs, reports the exit, ends the process. Returns when it
 * serves; the process then lives until its task is over. Everything up to the container is synchronous, so that a forked
 * template's event loop is touched only once it has its own.
 */
export async function runShim(options: ShimOptions): Promise<void> {
  await withRequestId(options.requestId, () => (options.adopt === true ? adopt(options) : start(options)));
}

async function start({ shimDir, containerId, run, requestId, readyFd, forkMode }: ShimOptions): Promise<void> {
  becomeShim(forkMode);
  let made: Made | undefined;
  try {
    made = makeContainer(readBundle(shimDir, containerId, run), forkMode);
    if (forkMode === 'fork') restartLoop();
    await serveTask(made, forkMode, () => exitNow(0));
    replyLaunched(readyFd, made);
  } catch (error) {
    if (made !== undefined) undo(made);
    writeReply(readyFd, failureReply(error, requestId));
    exitNow(1);
  }
}

/** Nothing is undone when it fails: the container goes on, and another shim is tried. */
async function adopt({ shimDir, containerId, run, requestId, readyFd, forkMode, ...old }: ShimOptions): Promise<void> {
  becomeShim(forkMode);
  if (forkMode === 'fork') restartLoop();
  try {
    const bundle = readBundle(shimDir, containerId, run);
    const made = await adoptContainer({ bundle, kept: old.fds ?? {}, replaces: old.replaces ?? 0 });
    await serveTask(made, forkMode, () => exitNow(0));
    replyLaunched(readyFd, made);
  } catch (error) {
    writeReply(readyFd, failureReply(error, requestId));
    exitNow(1);
  }
}

/** Nothing of the launcher's is left in this process but its memory. */
function becomeShim(forkMode: Starter): void {
  // Orphans of a container that shares the host's process ids come to the shim, not to the host's init.
  setChildSubreaper(true);
  leaveSession();
  if (forkMode === 'fork') Object.defineProperty(process, 'pid', { value: getpid(), configurable: true });
  process.umask(0o077);
}

/** A signal to the launcher's terminal or process group is none to its shims. */
function leaveSession(): void {
  try {
    setsid();
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error; // it leads a session already
  }
}

function replyLaunched(readyFd: number, made: Made): void {
  const kept = keptDescriptors(made);
  const { pid: initPid, warnings } = made.init;
  const value = { shimPid: getpid(), initPid, warnings: [...warnings], keptDescriptors: Object.keys(kept) };
  const reply = LauncherReply.create({ reply: { $case: 'launch', value } });
  writeReply(readyFd, reply, Object.values(kept));
}

function failureReply(error: unknown, requestId: string): LauncherReply {
  const known = error instanceof FlotillaError ? error : undefined;
  const value = {
    code: toGrpcStatus(error, requestId).code,
    message: known?.message ?? (error instanceof Error ? error.message : String(error)),
    reason: known?.reason ?? 'INTERNAL',
    metadata: { ...known?.metadata },
  };
  return LauncherReply.fromPartial({ reply: { $case: 'error', value } });
}

/** Descriptors go with the first bytes. */
function writeReply(fd: number, reply: LauncherReply, descriptors: readonly number[] = []): void {
  const whole = encodeFrame(LauncherReply.encode(reply).finish());
  const first = descriptors.length > 0 && fstatSync(fd).isSocket() ? sendFds(fd, whole, descriptors) : 0;
  for (let written = first ?? 0; written < whole.length; ) written += writeFd(fd, whole.subarray(written)) ?? 0;
  closeFd(fd);
}
