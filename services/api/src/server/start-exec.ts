import { invalidField } from '@flotilla/errors';
import { type ExecStart, type StartExecRequest, StartExecResponse } from '@flotilla/proto/flotilla/v1/exec';
import type { CallContext } from '@flotilla/rpc';
import { attachToShim, type StreamOptions } from './attach-to-shim.ts';
import { readInput } from './read-input.ts';
import { reportDetach } from './report-detach.ts';

/** ExecService.StartExec: the supervisor starts it, its streams go to the shim directly. */
export function startExec({ supervisor, shims, resumeMs }: StreamOptions) {
  return async function* (
    requests: AsyncIterable<StartExecRequest>,
    { signal, log }: CallContext,
  ): AsyncGenerator<StartExecResponse> {
    const iterator = requests[Symbol.asyncIterator]();
    const { execId, detach } = await firstOf(iterator);
    const { exec, shimAddress } = await supervisor.startExecProcess({ execId, detach }, { signal });
    const config = exec?.config;
    if (exec === undefined || config === undefined) throw new Error('the supervisor answered without the exec');
    const started = StartExecResponse.fromPartial({ message: { $case: 'started', value: { pid: exec.pid } } });
    if (detach) {
      yield started;
      return;
    }
    using input = readInput(iterator, { tty: config.tty, wanted: config.stdin, detachKeys: config.detachKeys });
    const attach = { execId, stdin: config.stdin, stdout: true, stderr: true, expected: false };
    // An exec lives and dies with its shim's socket: the same address, or none.
    const find = async () => shimAddress;
    yield started;
    for await (const event of attachToShim(shimAddress, attach, input, { shims, signal, find, resumeMs })) {
      if (event.output !== undefined) {
        yield StartExecResponse.fromPartial({ message: { $case: 'output', value: event.output } });
      }
      if (event.exitCode === undefined) continue;
      const { exitCode } = event;
      yield StartExecResponse.fromPartial({ message: { $case: 'exited', value: { exitCode, detached: false } } });
    }
    if (input.isDetached) {
      reportDetach(supervisor, { containerId: exec.containerId, execId }, { resumeMs, log });
      yield StartExecResponse.fromPartial({ message: { $case: 'exited', value: { exitCode: 0, detached: true } } });
    }
  };
}

async function firstOf(iterator: AsyncIterator<StartExecRequest>): Promise<ExecStart> {
  const { value, done } = await iterator.next();
  const message = done === true ? undefined : value.message;
  if (message?.$case !== 'start') throw invalidField('message', '`start` in the first request', message?.$case);
  return message.value;
}
