import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError, invalidField } from '@flotilla/errors';
import {
  type AttachContainerRequest,
  AttachContainerResponse,
  type AttachStart,
  type Container,
} from '@flotilla/proto/flotilla/v1/container';
import type { CallContext } from '@flotilla/rpc';
import type { SupervisorClient } from '../adapters/owners.ts';
import { isAway, Patience } from '../domain/resume.ts';
import { attachToShim, type StreamOptions } from './attach-to-shim.ts';
import { readInput } from './read-input.ts';
import { reportDetach } from './report-detach.ts';

/**
 * ContainerService.AttachContainer. The streams go to the shim directly, so that the supervisor may restart under them.
 * Asks for the task before it says `started`: who starts the container after that misses nothing.
 */
export function attachContainer({ supervisor, shims, resumeMs }: StreamOptions) {
  return async function* (
    requests: AsyncIterable<AttachContainerRequest>,
    { signal, log }: CallContext,
  ): AsyncGenerator<AttachContainerResponse> {
    const iterator = requests[Symbol.asyncIterator]();
    const start = await firstOf(iterator);
    const { container } = await supervisor.getContainer({ container: start.container }, { signal });
    if (container === undefined) throw new Error('the supervisor answered without a container');
    const { containerId } = container;
    const tty = container.config?.tty === true;
    refuseUnattachable(container);
    const attachmentId = start.resume === undefined ? randomUUID() : ''; // one that goes on is no new one
    const task = resolveTask(supervisor, { containerId, attachmentId }, signal, resumeMs);
    task.catch(() => {}); // Reported where it is awaited.
    using input = readInput(iterator, { tty, wanted: start.stdin, detachKeys: start.detachKeys });
    yield AttachContainerResponse.fromPartial({ message: { $case: 'started', value: { containerId, tty } } });
    if (start.logs) yield* loggedOutput(supervisor, container, start, signal);
    const resolved = await Promise.race([task, input.detached]);
    if (resolved !== 'detached') {
      const { stdin, stdout, stderr } = start;
      const attach = { execId: '', stdin, stdout, stderr, expected: resolved.expected };
      const find = () => findTask(supervisor, containerId, resolved.run, signal);
      for await (const event of attachToShim(resolved.shimAddress, attach, input, { shims, signal, find, resumeMs })) {
        if (event.output !== undefined) {
          yield AttachContainerResponse.fromPartial({ message: { $case: 'output', value: event.output } });
        }
      }
    }
    const detached = input.isDetached;
    if (detached) reportDetach(supervisor, { containerId, execId: '' }, { resumeMs, log });
    yield AttachContainerResponse.fromPartial({ message: { $case: 'ended', value: { detached } } });
  };
}

async function firstOf(iterator: AsyncIterator<AttachContainerRequest>): Promise<AttachStart> {
  const { value, done } = await iterator.next();
  const message = done === true ? undefined : value.message;
  if (message?.$case !== 'start') throw invalidField('message', '`start` in the first request', message?.$case);
  const { stdin, stdout, stderr } = message.value;
  if (!stdin && !stdout && !stderr) throw invalidField('start', 'given at least one of stdin, stdout and stderr');
  return message.value;
}

function refuseUnattachable({ name, containerId, status }: Container): void {
  const state = status?.state ?? 'CONTAINER_STATE_UNSPECIFIED';
  if (!['CONTAINER_STATE_PAUSED', 'CONTAINER_STATE_REMOVING', 'CONTAINER_STATE_DEAD'].includes(state)) return;
  const word = state.slice('CONTAINER_STATE_'.length).toLowerCase();
  throw new FlotillaError('failed_precondition', `container ${name} is ${word}: it cannot be attached to`, {
    reason: state === 'CONTAINER_STATE_PAUSED' ? 'CONTAINER_PAUSED' : 'ILLEGAL_TRANSITION',
    metadata: { containerId, name, state: word },
  });
}

/** Waits for the task, over restarts of the supervisor. */
async function resolveTask(
  supervisor: SupervisorClient,
  { containerId: container, attachmentId }: { readonly containerId: string; readonly attachmentId: string },
  signal: AbortSignal,
  resumeMs: number,
) {
  const request = { container, wait: true, attachmentId };
  const patience = new Patience(resumeMs);
  for (;;) {
    try {
      return await supervisor.resolveTask(request, { signal, deadlineMs: Number.POSITIVE_INFINITY });
    } catch (error) {
      if (signal.aborted || !patience.allows(error)) throw error;
    }
    await sleep(50, undefined, { signal });
  }
}

/** Where the same run's shim listens now, or undefined when that run is over. */
async function findTask(supervisor: SupervisorClient, container: string, run: bigint, signal: AbortSignal) {
  try {
    const task = await supervisor.resolveTask({ container, wait: false, attachmentId: '' }, { signal });
    return task.run === run && task.shimAddress !== '' ? task.shimAddress : undefined;
  } catch (error) {
    if (isAway(error)) throw error;
    return undefined;
  }
}

/** What was logged so far, as output. */
async function* loggedOutput(
  supervisor: SupervisorClient,
  { containerId: container }: Container,
  { stdout, stderr }: AttachStart,
  signal: AbortSignal,
): AsyncGenerator<AttachContainerResponse> {
  if (!stdout && !stderr) return;
  const request = { container, follow: false, stdout, stderr, afterCursor: '' };
  for await (const { stream, data } of supervisor.streamLogs(request, { signal })) {
    yield AttachContainerResponse.fromPartial({ message: { $case: 'output', value: { stream, data } } });
  }
}
