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
import type { Init } from '../task/init.ts';
import { checkSignal, type Task } from '../task/task.ts';
import { type AttachTarget, attach } from './attach.ts';
import type { HandOver } from './hand-over.ts';

export interface ShimServiceOptions {
  readonly bundle: Bundle;
  readonly init: Init;
  readonly streams: ProcessStreams;
  readonly task: Task;
  readonly execs: ExecTable;
  readonly handOver: HandOver;
}

/** ShimService: decode, call, encode. */
export function shimService(options: ShimServiceOptions): Implementation {
  const { init, streams, task, execs, handOver } = options;
  const initPid = init.pid;
  const streamsOf = (execId: string) => (execId === '' ? streams : execs.get(execId).streams);
  return implement(ShimServiceService, {
    startTask: async ({ expectedAttachments }) => {
      handOver.check();
      return StartTaskResponse.create({ initPid, startedAtUnixNano: await task.start(expectedAttachments) });
    },
    getTask: async () => describe(options),
    killTask: async ({ signal, all, execId }) => {
      handOver.check();
      checkSignal(signal);
      if (execId === '') task.kill(signal, all);
      else execs.get(execId).kill(signal, all);
      return KillTaskResponse.create();
    },
    pauseTask: async () => {
      handOver.check();
      task.pause();
      return PauseTaskResponse.create();
    },
    resumeTask: async () => {
      handOver.check();
      task.resume();
      return ResumeTaskResponse.create();
    },
    startExec: async (request) => {
      handOver.check();
      task.checkRunning();
      return StartExecResponse.create({ pid: execs.start(request).pid });
    },
    attach: (requests, context) =>
      attach(requests, context, (execId) => attachTarget(options, execId), task.attachments),
    resizeTerminal: async ({ execId, size }) => {
      handOver.check();
      if (size === undefined) throw invalidField('size', 'given');
      streamsOf(execId).resize(size);
      return ResizeTerminalResponse.create();
    },
    waitTask: async ({ execId }) => {
      const exit = execId === '' ? await task.ended : { ...(await execs.get(execId).finished), oomKilled: false };
      return WaitTaskResponse.create(exit);
    },
    deleteTask: async () => {
      handOver.check();
      return DeleteTaskResponse.create({ exitCode: (await task.delete()).exitCode });
    },
    handOver: ({ shimPid }) => handOver.begin(shimPid),
  });
}

function describe({ bundle, init, task, execs }: ShimServiceOptions): GetTaskResponse {
  const { containerId, run } = bundle.options;
  const { state } = task;
  return GetTaskResponse.create({
    containerId,
    run,
    state: state.name,
    initPid: init.pid,
    execIds: execs.runningIds,
    warnings: [...init.warnings],
    startedAtUnixNano: 'startedAtUnixNano' in state ? state.startedAtUnixNano : task.startedAtUnixNano,
    ...(state.name === 'exited' ? state.exit : {}),
  });
}

function attachTarget({ bundle, streams, execs, handOver }: ShimServiceOptions, execId: string): AttachTarget {
  handOver.check();
  const { run, stdinOnce } = bundle.options;
  const inputEnds = (withClient: boolean) => () => withClient && !handOver.isUnderWay;
  if (execId === '') return { streams, run, inputEndsWithClient: inputEnds(stdinOnce), attached: () => {} };
  const exec = execs.get(execId);
  return {
    streams: exec.streams,
    run,
    inputEndsWithClient: inputEnds(true),
    attached: () => {
      if (!exec.running) void exec.drain();
    },
  };
}
