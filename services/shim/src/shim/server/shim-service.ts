import { invalidField } from '@flotilla/errors';
import {
  DeleteTaskResponse,
  GetTaskResponse,
  KillTaskResponse,
  PauseTaskResponse,
  ResizeTerminalResponse,
  ResumeTaskResponse,
  ShimServiceService,
  StartExecResponse,
  StartTaskResponse,
  WaitTaskResponse,
} from '@flotilla/proto/flotilla/shim/v1/shim';
import { type Implementation, implement } from '@flotilla/rpc';
import type { Bundle } from '../bundle.ts';
import type { ProcessStreams } from '../streams/process-streams.ts';
import type { ExecTable } from '../task/exec-table.ts';
import { checkSignal, type Task } from '../task/task.ts';
import { type AttachTarget, attach } from './attach.ts';

export interface ShimServiceOptions {
  readonly bundle: Bundle;
  readonly initPid: number;
  readonly warnings: readonly string[];
  readonly streams: ProcessStreams;
  readonly task: Task;
  readonly execs: ExecTable;
}

/** ShimService: decode, call, encode. */
export function shimService(options: ShimServiceOptions): Implementation {
  const { initPid, streams, task, execs } = options;
  const streamsOf = (execId: string) => (execId === '' ? streams : execs.get(execId).streams);
  return implement(ShimServiceService, {
    startTask: async ({ expectedAttachments }) =>
      StartTaskResponse.create({ initPid, startedAtUnixNano: await task.start(expectedAttachments) }),
    getTask: async () => describe(options),
    killTask: async ({ signal, all, execId }) => {
      checkSignal(signal);
      if (execId !== '' && all) throw invalidField('all', 'false when exec_id is given', 'true');
      if (execId === '') task.kill(signal, all);
      else execs.get(execId).kill(signal);
      return KillTaskResponse.create();
    },
    pauseTask: async () => {
      task.pause();
      return PauseTaskResponse.create();
    },
    resumeTask: async () => {
      task.resume();
      return ResumeTaskResponse.create();
    },
    startExec: async (request) => {
      task.checkRunning();
      return StartExecResponse.create({ pid: execs.start(request).pid });
    },
    attach: (requests, context) =>
      attach(requests, context, (execId) => attachTarget(options, execId), task.attachments),
    resizeTerminal: async ({ execId, size }) => {
      if (size === undefined) throw invalidField('size', 'given');
      streamsOf(execId).resize(size);
      return ResizeTerminalResponse.create();
    },
    waitTask: async ({ execId }) => {
      const exit = execId === '' ? await task.ended : { ...(await execs.get(execId).finished), oomKilled: false };
      return WaitTaskResponse.create(exit);
    },
    deleteTask: async () => DeleteTaskResponse.create({ exitCode: (await task.delete()).exitCode }),
  });
}

function describe({ bundle, initPid, warnings, task, execs }: ShimServiceOptions): GetTaskResponse {
  const { containerId, run } = bundle.options;
  const { state } = task;
  return GetTaskResponse.create({
    containerId,
    run,
    state: state.name,
    initPid,
    execIds: execs.runningIds,
    warnings: [...warnings],
    ...(state.name === 'exited' ? state.exit : {}),
  });
}

function attachTarget({ bundle, streams, execs }: ShimServiceOptions, execId: string): AttachTarget {
  if (execId === '') return { streams, inputEndsWithClient: bundle.options.stdinOnce, attached: () => {} };
  const exec = execs.get(execId);
  return {
    streams: exec.streams,
    inputEndsWithClient: true,
    attached: () => {
      if (!exec.running) void exec.drain();
    },
  };
}
