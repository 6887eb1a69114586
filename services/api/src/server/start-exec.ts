import { FlotillaError, invalidField } from '@flotilla/errors';
import { type Exec, type ExecStart, type StartExecRequest, StartExecResponse } from '@flotilla/proto/flotilla/v1/exec';
import type { CallContext } from '@flotilla/rpc';
import { isAway } from '../domain/resume.ts';
import { attachToShim, type StreamOptions } from './attach-to-shim.ts';
import { readInput } from './read-input.ts';
import { reportDetach } from './report-detach.ts';
import { findStartedExec } from './started-exec.ts';

/** Of a process that was killed: 128 + SIGKILL. */
const killedExitCode = 137;
const askMs = 1_000;
/** How long an exec that has ended may be with a shim that is about to take over: its last output is there. */
const takeOverMs = 3_000;

/** ExecService.StartExec: the supervisor starts it, its streams go to the shim directly. */
export function startExec({ supervisor, shims, resumeMs }: StreamOptions) {
  return async function* (
    requests: AsyncIterable<StartExecRequest>,
    { signal, log }: CallContext,
  ): AsyncGenerator<StartExecResponse> {
    const iterator = requests[Symbol.asyncIterator]();
    const { execId, detach, resume } = await firstOf(iterator);
    const found = resume ? await findStartedExec(supervisor, execId, resumeMs, signal) : undefined;
    const { exec, shimAddress } = found ?? (await supervisor.startExecProcess({ execId, detach }, { signal }));
    const config = exec?.config;
    if (exec === undefined || config === undefined) throw new Error('the supervisor answered without the exec');
    yield StartExecResponse.fromPartial({ message: { $case: 'started', value: { pid: exec.pid } } });
    if (detach) return;
    if (found !== undefined && exec.exitCode !== undefined) {
      yield exited(exec.exitCode, false);
      return;
    }
    using input = readInput(iterator, { tty: config.tty, wanted: config.stdin, detachKeys: config.detachKeys });
    const attach = { execId, stdin: config.stdin, stdout: true, stderr: true, expected: false };
    let endedAt: number | undefined;
    const findEnd = async () => {
      const now = await supervisor.getExec({ execId }, { signal, deadlineMs: askMs }).catch((error: unknown) => {
        if (isAway(error) || signal.aborted) return { exec };
        return { exec: undefined };
      });
      if (now.exec === undefined) return execLost(exec);
      if (now.exec.running) return undefined;
      endedAt ??= performance.now();
      return performance.now() - endedAt > takeOverMs ? execLost(now.exec) : undefined;
    };
    const otherRun = () => execLost(exec);
    const options = { shims, signal, run: undefined, findEnd, otherRun, resumeMs };
    try {
      for await (const { output, exitCode } of attachToShim(shimAddress, attach, input, options)) {
        if (output !== undefined) yield StartExecResponse.fromPartial({ message: { $case: 'output', value: output } });
        if (exitCode !== undefined) yield exited(exitCode, false);
      }
    } catch (error) {
      // A shim that took over from one that was killed knows it no more.
      throw isGone(error) ? execLost(exec) : error;
    }
    if (input.isDetached) {
      reportDetach(supervisor, { containerId: exec.containerId, execId }, { resumeMs, log });
      yield exited(0, true);
    }
  };
}

async function firstOf(iterator: AsyncIterator<StartExecRequest>): Promise<ExecStart> {
  const { value, done } = await iterator.next();
  const message = done === true ? undefined : value.message;
  if (message?.$case !== 'start') throw invalidField('message', '`start` in the first request', message?.$case);
  return message.value;
}

function exited(exitCode: number, detached: boolean): StartExecResponse {
  return StartExecResponse.fromPartial({ message: { $case: 'exited', value: { exitCode, detached } } });
}

function isGone(error: unknown): boolean {
  return error instanceof FlotillaError && error.code === 'not_found';
}

function execLost({ execId, containerId, exitCode = killedExitCode }: Exec): FlotillaError {
  const message = `exec ${execId} has lost its streams: the shim of container ${containerId} was killed, and the exec with it`;
  return new FlotillaError('aborted', message, {
    reason: 'EXEC_LOST',
    metadata: { execId, containerId, exitCode: String(exitCode) },
  });
}
