import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Starter } from '@flotilla/libcontainer';
import { closeFd } from '@flotilla/linux';
import { serve } from '@flotilla/rpc';
import { watchAdoptedInit } from './adopt/watch-init.ts';
import { cleanUp, isOwn } from './clean-up.ts';
import { keptDescriptors, type Made } from './made.ts';
import { HandOver } from './server/hand-over.ts';
import { shimService } from './server/shim-service.ts';
import { writeShimFile } from './shim-file.ts';
import { ProcessStreams } from './streams/process-streams.ts';
import type { Exit } from './task/exec.ts';
import { removeExecFile, writeExecExit } from './task/exec-files.ts';
import { ExecTable } from './task/exec-table.ts';
import { ExitReporter } from './task/exit-reporter.ts';
import { OomWatch } from './task/oom-watch.ts';
import { Reaper } from './task/reaper.ts';
import { releaseStdin } from './task/stdin-release.ts';
import { Task, type TaskState } from './task/task.ts';

/** How long clients may take to fetch what they were sent, once the task is over. */
const farewellMs = 5_000;
/** How long the last answers may take, when that cannot be waited for. */
const flushMs = 50;
/** How long a client that does not keep up may hold a container's output back, before it loses its place. */
const patienceMs = 2_000;

/** Serves a container to its end; `left` is called once all is closed. */
export async function serveTask(made: Made, starter: Starter, left: () => void): Promise<void> {
  const { bundle, log, init, ends, output, ledger, adopted } = made;
  const { shimDir, options } = bundle;
  const { containerId } = options;
  const stopped = new AbortController();
  const onInputClosed = () => {
    ledger.recordStdinClosed();
    void releaseStdin(bundle, stopped.signal);
  };
  const streams = new ProcessStreams({ ends, output, patienceMs, onInputClosed });
  const reporter = new ExitReporter(options.supervisorAddress, log);
  const { pid, pidfd } = init;
  const isChild = adopted === undefined && pidfd !== undefined;
  const onKill = (killCount: number) =>
    void reporter.reportOom({ containerId, run: options.run, killCount: BigInt(killCount) });
  const oomWatch = new OomWatch({ cgroup: init.cgroup, onKill, log });
  const initExited: Task['initExited'] = (...exit) => {
    oomWatch.look(); // told before the exit
    task.initExited(...exit);
  };
  const reaper = new Reaper(isChild ? { pid, pidfd, onExit: (exit) => initExited(exit) } : undefined);
  const tellExecExit = async (execId: string, exit: Exit): Promise<void> => {
    writeExecExit(shimDir, execId, exit);
    await reporter.reportExec({ containerId, execId, ...exit });
    removeExecFile(shimDir, execId);
  };
  const onExit = (execId: string, exit: Exit) => void tellExecExit(execId, exit);
  const execs = new ExecTable({ init, shimDir, spec: bundle.spec, starter, reaper, onExit });
  let isGone = false;
  const task: Task = new Task({
    bundle,
    init,
    streams,
    output,
    ledger,
    execs,
    reaper,
    reporter,
    log,
    initial: adopted === undefined ? undefined : adoptedState(made),
    cleanUp: () => {
      if (!isOwn(bundle)) return;
      isGone = true;
      cleanUp(bundle, init.cgroup, log);
      server.stopListening(); // before anybody is told: the name is the next run's then
    },
    leave: () => void leave(),
  });
  const handOver = new HandOver({ init, task, streams, execs, reaper });
  const implementation = shimService({ bundle, init, streams, task, execs, handOver });
  const server = await serve({
    socketPath: join(shimDir, 'shim.sock'),
    implementations: [implementation],
    service: 'shim',
    log,
    usePassedSocket: false,
  });
  // A mistake in one call must not cost the container its parent.
  const onMistake = (error: unknown) => log.error({ err: error }, 'an error that nobody expected');
  process.on('uncaughtException', onMistake);
  writeShimFile(bundle, init, keptDescriptors(made));
  if (adopted !== undefined) {
    output.recover();
    if (ledger.isStdinClosed) onInputClosed(); // its shim may have been killed before the launcher knew
  }
  streams.open();
  reaper.start();
  if (adopted !== undefined) {
    for (const exec of adopted.execs) execs.adopt(exec);
    for (const { execId, ...exit } of adopted.endedExecs) onExit(execId, exit);
    void watchAdoptedInit(made, (exit, at) => reaper.passOn(() => initExited(exit, at)));
  }
  oomWatch.start();

  async function leave(): Promise<void> {
    await task.attachments.waitForNone(farewellMs);
    stopped.abort();
    reporter[Symbol.dispose]();
    oomWatch[Symbol.dispose]();
    if (isGone) await server[Symbol.asyncDispose]();
    else await sleep(flushMs); // the name of its socket is another's: closed, it would be removed
    reaper.stop();
    execs[Symbol.dispose]();
    output[Symbol.dispose]();
    ledger[Symbol.dispose]();
    if (pidfd !== undefined) closeFd(pidfd);
    process.off('uncaughtException', onMistake);
    left();
  }
}

function adoptedState({ init, ledger }: Made): TaskState {
  const { startedAtUnixNano } = ledger;
  if (startedAtUnixNano === 0n) return { name: 'created' };
  return { name: init.cgroup.isFrozen() ? 'paused' : 'running', startedAtUnixNano };
}
