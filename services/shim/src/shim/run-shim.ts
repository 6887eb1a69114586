import { rmdirSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { FlotillaError } from '@flotilla/errors';
import { type CreatedInit, createInit, type Starter } from '@flotilla/libcontainer';
import { closeFd, exitNow, getpid, isErrno, nowUnixNano, setChildSubreaper, setsid, waitPidfd } from '@flotilla/linux';
import { restartLoop } from '@flotilla/linux/fork';
import { createLogger, type Logger, withRequestId } from '@flotilla/log';
import { LauncherReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { serve, toGrpcStatus } from '@flotilla/rpc';
import { encodeFrame } from '../launcher/frame.ts';
import { type Bundle, ownerOnHost, readBundle } from './bundle.ts';
import { JsonLog } from './logs/json-log.ts';
import { shimService } from './server/shim-service.ts';
import { writeShimFile } from './shim-file.ts';
import { type OutputSink, ProcessStreams } from './streams/process-streams.ts';
import { fifoNames, makeFifos, type StdioPair } from './streams/stdio.ts';
import { ExecTable } from './task/exec-table.ts';
import { ExitReporter } from './task/exit-reporter.ts';
import { Reaper } from './task/reaper.ts';
import { Task } from './task/task.ts';

/** How long clients may take to fetch what they were sent, once the task is over. */
const farewellMs = 5_000;
/** How long a client that does not keep up may hold a container's output back, before it loses its place. */
const patienceMs = 2_000;

export interface ShimOptions {
  readonly shimDir: string;
  readonly containerId: string;
  readonly run: bigint;
  readonly requestId: string;
  /** Gets a length-delimited LauncherReply and is closed: once the container is made and the shim serves, or has failed. */
  readonly readyFd: number;
  /** `fork`: this process is a fresh fork of a warm, single-threaded template. `spawn`: it is a Node.js of its own. */
  readonly forkMode: Starter;
}

/**
 * The shim of one container: makes its init, serves ShimService, logs, reports the exit, ends the process. Returns when it
 * serves; the process then lives until its task is over. Everything up to the container is synchronous, so that a forked
 * template's event loop is touched only once it has its own.
 */
export async function runShim(options: ShimOptions): Promise<void> {
  await withRequestId(options.requestId, () => start(options));
}

async function start({ shimDir, containerId, run, requestId, readyFd, forkMode }: ShimOptions): Promise<void> {
  becomeShim(forkMode);
  let made: Made | undefined;
  try {
    made = makeContainer(readBundle(shimDir, containerId, run), forkMode);
    if (forkMode === 'fork') restartLoop();
    await serveTask(made, forkMode, () => exitNow(0));
    const { pid: initPid, warnings } = made.init;
    const value = { shimPid: getpid(), initPid, warnings: [...warnings] };
    writeReply(readyFd, LauncherReply.fromPartial({ reply: { $case: 'launch', value } }));
  } catch (error) {
    if (made !== undefined) undo(made);
    writeReply(readyFd, failureReply(error, requestId));
    exitNow(1);
  }
}

/** What was made before the event loop runs. */
export interface Made {
  readonly bundle: Bundle;
  readonly log: Logger;
  readonly init: CreatedInit;
  readonly stdio: StdioPair | undefined;
  readonly jsonLog: JsonLog | undefined;
}

/** Makes the container up to its waiting init, and all that its streams need. */
export function makeContainer(bundle: Bundle, starter: Starter): Made {
  const { spec, options, shimDir } = bundle;
  const log = createLogger({ service: 'shim', level: options.logLevel || 'info' }).child({
    containerId: options.containerId,
  });
  const jsonLog = openLog(bundle, log);
  const process = spec.process!;
  const stdio =
    process.terminal === true ? undefined : makeFifos(shimDir, ownerOnHost(spec, process.user), options.openStdin);
  try {
    const init = createInit({
      spec,
      containerId: options.containerId,
      bundleDir: shimDir,
      rootfsMounts: options.rootfsMounts,
      stdio: stdio?.container ?? { kind: 'terminal', ...consoleSize(bundle) },
      starter,
    });
    stdio?.closeContainerSide();
    return { bundle, log, init, stdio, jsonLog };
  } catch (error) {
    stdio?.closeAll();
    removeFiles(shimDir, fifoNames);
    throw error;
  }
}

/** Serves a container to its end; `left` is called once all is closed. */
export async function serveTask(made: Made, starter: Starter, left: () => void): Promise<void> {
  const { bundle, log, init, stdio, jsonLog } = made;
  const ends = stdio?.ends ?? { terminalFd: init.consoleFd };
  const streams = new ProcessStreams({ ends, sink: jsonLog && logSink(jsonLog), patienceMs });
  const reporter = new ExitReporter(bundle.options.supervisorAddress, log);
  const { containerId } = bundle.options;
  const reaper = new Reaper({ pid: init.pid, pidfd: init.pidfd, onExit: (exit) => task.initExited(exit) });
  const onExit = (execId: string, exit: { exitCode: number; exitedAtUnixNano: bigint }) => {
    void reporter.reportExec({ containerId, execId, ...exit });
  };
  const execs = new ExecTable({ init, spec: bundle.spec, starter, reaper, onExit });
  const task: Task = new Task({
    bundle,
    init,
    streams,
    execs,
    reaper,
    reporter,
    log,
    cleanUp: () => cleanUp(bundle, init, log),
    leave: () => void leave(),
  });
  const implementation = shimService({ bundle, initPid: init.pid, warnings: init.warnings, streams, task, execs });
  const socketPath = join(bundle.shimDir, 'shim.sock');
  const server = await serve({
    socketPath,
    implementations: [implementation],
    service: 'shim',
    log,
    usePassedSocket: false,
  });
  // A mistake in one call must not cost the container its parent.
  const onMistake = (error: unknown) => log.error({ err: error }, 'an error that nobody expected');
  process.on('uncaughtException', onMistake);
  writeShimFile(bundle, init);
  streams.open();
  reaper.start();

  async function leave(): Promise<void> {
    await task.attachments.waitForNone(farewellMs);
    reporter[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
    reaper.stop();
    execs[Symbol.dispose]();
    jsonLog?.[Symbol.dispose]();
    closeFd(init.pidfd);
    process.off('uncaughtException', onMistake);
    left();
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

function openLog({ options }: Bundle, log: Logger): JsonLog | undefined {
  if (options.logDriver === 'none' || options.logPath === '') return undefined;
  return new JsonLog({
    path: options.logPath,
    maxSizeBytes: Number(options.logMaxSizeBytes),
    maxFiles: Math.max(1, options.logMaxFiles),
    onFailure: (error) => log.error({ err: error }, 'output cannot be logged and is lost'),
  });
}

function logSink(jsonLog: JsonLog): OutputSink {
  return {
    write: (stream, chunk) => jsonLog.write(stream, chunk, nowUnixNano()),
    end: (stream) => jsonLog.end(stream, nowUnixNano()),
  };
}

function consoleSize({ spec }: Bundle): { size?: { columns: number; rows: number } } {
  const size = spec.process?.consoleSize;
  return size === undefined ? {} : { size: { columns: size.width, rows: size.height } };
}

/** The shim cannot serve: its container goes with it. */
export function undo({ bundle, init, log }: Made): void {
  init.kill();
  waitPidfd(init.pidfd);
  cleanUp(bundle, init, log);
}

/** Removes the cgroup and the shim's folder. What is left is swept by the supervisor. */
function cleanUp({ shimDir }: Bundle, init: CreatedInit, log: Logger): void {
  try {
    init.cgroup.remove();
  } catch (error) {
    log.warn({ err: error }, 'the cgroup could not be removed');
  }
  removeFiles(shimDir, [...fifoNames, 'shim.sock', 'shim.json', 'config.json', 'task.json']);
  for (const folder of [join(shimDir, 'rootfs'), shimDir]) {
    try {
      rmdirSync(folder); // never recursive: a rootfs that somebody mounted here is not ours to empty
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTEMPTY')) log.warn({ err: error, folder }, 'a folder could not be removed');
    }
  }
}

function removeFiles(dir: string, names: readonly string[]): void {
  for (const name of names) rmSync(join(dir, name), { force: true });
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

function writeReply(fd: number, reply: LauncherReply): void {
  const whole = encodeFrame(LauncherReply.encode(reply).finish());
  for (let written = 0; written < whole.length; ) written += writeSync(fd, whole, written);
  closeFd(fd);
}
