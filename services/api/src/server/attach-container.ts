import { randomUUID } from 'node:crypto';
import { FlotillaError, invalidField } from '@flotilla/errors';
import {
  type AttachContainerRequest,
  AttachContainerResponse,
  type AttachStart,
  type Container,
} from '@flotilla/proto/flotilla/v1/container';
import type { CallContext } from '@flotilla/rpc';
import type { SupervisorClient } from '../adapters/owners.ts';
import { askPatiently, isAway, Patience } from '../domain/resume.ts';
import { attachToShim, type ShimEvent, type StreamOptions } from './attach-to-shim.ts';
import { type Attachment, AttachmentEnd } from './attachment-end.ts';
import { readInput } from './read-input.ts';
import { reportDetach } from './report-detach.ts';

/** The supervisor is asked whether a run is over while the shim is away, too: its answer is no condition for going on. */
const askMs = 1_000;

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
    const patience = new Patience(start.resume === undefined ? 0 : resumeMs);
    const request = { container: start.container };
    const { container } = await askPatiently(() => supervisor.getContainer(request, { signal }), patience, signal);
    if (container === undefined) throw new Error('the supervisor answered without a container');
    const { containerId, status } = container;
    const tty = container.config?.tty === true;
    const live = (status?.initPid ?? 0) !== 0;
    const resumes = start.resume !== undefined; // One that goes on is no new one.
    const attachment = { containerId, attachmentId: start.resume?.attachmentId ?? randomUUID() };
    using end = new AttachmentEnd(supervisor, attachment, { signal, log });
    refuseUnattachable(container, start);
    const task = resolveTask(supervisor, { ...attachment, resumes }, signal, resumeMs);
    task.catch(() => {}); // Reported where it is awaited.
    using input = readInput(iterator, { tty, wanted: start.stdin, detachKeys: start.detachKeys });
    const started = { ...attachment, tty, run: live ? (status?.run ?? 0n) : 0n };
    yield AttachContainerResponse.fromPartial({ message: { $case: 'started', value: started } });
    if (start.logs) yield* loggedOutput(supervisor, container, start, signal);
    const resolved = await Promise.race([task, input.detached]);
    if (resolved !== 'detached') {
      const { run, expected, shimAddress } = resolved;
      const otherRun = () => runOver(containerId, run);
      const findEnd = async () => ((await isOver(supervisor, containerId, run, signal)) ? otherRun() : undefined);
      const options = { shims, signal, run, findEnd, otherRun, resumeMs };
      for await (const event of attachToShim(shimAddress, shimStart(start, expected), input, options)) {
        const message = toMessage(event);
        if (message !== undefined) yield AttachContainerResponse.fromPartial({ message });
      }
    }
    const detached = input.isDetached;
    if (detached) reportDetach(supervisor, { containerId, execId: '' }, { resumeMs, log });
    end.hasAll = true;
    yield AttachContainerResponse.fromPartial({ message: { $case: 'ended', value: { detached } } });
  };
}

async function firstOf(iterator: AsyncIterator<AttachContainerRequest>): Promise<AttachStart> {
  const { value, done } = await iterator.next();
  const message = done === true ? undefined : value.message;
  if (message?.$case !== 'start') throw invalidField('message', '`start` in the first request', message?.$case);
  const { stdin, stdout, stderr, logs, resume } = message.value;
  if (!stdin && !stdout && !stderr) throw invalidField('start', 'given at least one of stdin, stdout and stderr');
  if (logs && resume !== undefined) throw invalidField('start.resume', 'absent with `logs`');
  return message.value;
}

function refuseUnattachable({ name, containerId, status }: Container, { resume }: AttachStart): void {
  const state = status?.state ?? 'CONTAINER_STATE_UNSPECIFIED';
  if (resume !== undefined) {
    // A container that is paused meanwhile is still the one to which the client was attached.
    if (status?.run !== resume.run || status.initPid === 0) throw runOver(containerId, resume.run);
    return;
  }
  if (!['CONTAINER_STATE_PAUSED', 'CONTAINER_STATE_REMOVING', 'CONTAINER_STATE_DEAD'].includes(state)) return;
  const word = state.slice('CONTAINER_STATE_'.length).toLowerCase();
  throw new FlotillaError('failed_precondition', `container ${name} is ${word}: it cannot be attached to`, {
    reason: state === 'CONTAINER_STATE_PAUSED' ? 'CONTAINER_PAUSED' : 'ILLEGAL_TRANSITION',
    metadata: { containerId, name, state: word },
  });
}

function shimStart({ stdin, stdout, stderr, resume }: AttachStart, expected: boolean) {
  const streams = { execId: '', stdin, stdout, stderr, expected };
  if (resume === undefined) return streams;
  return { ...streams, stdoutPosition: resume.stdoutPosition, stderrPosition: resume.stderrPosition };
}

function toMessage({ started, output }: ShimEvent): AttachContainerResponse['message'] {
  if (output !== undefined) return { $case: 'output', value: output };
  if (started === undefined || started.run === 0n) return undefined; // A shim of an earlier release does not count.
  const { run, stdoutPosition, stderrPosition } = started;
  return { $case: 'connected', value: { run, stdoutPosition, stderrPosition } };
}

function runOver(containerId: string, run: bigint): FlotillaError {
  return new FlotillaError(
    'failed_precondition',
    `run ${run} of container ${containerId} is over; the log has the rest`,
    {
      reason: 'RUN_OVER',
      metadata: { containerId, run: String(run) },
    },
  );
}

/** Waits for the task, over restarts of the supervisor. */
function resolveTask(
  supervisor: SupervisorClient,
  { containerId: container, attachmentId, resumes }: Attachment & { readonly resumes: boolean },
  signal: AbortSignal,
  resumeMs: number,
) {
  const request = { container, wait: true, attachmentId, reportsEnd: true, resumes };
  const ask = () => supervisor.resolveTask(request, { signal, deadlineMs: Number.POSITIVE_INFINITY });
  return askPatiently(ask, new Patience(resumeMs), signal);
}

/** Whether a run has ended; false, too, while nobody knows. */
async function isOver(supervisor: SupervisorClient, container: string, run: bigint, signal: AbortSignal) {
  try {
    const request = { container, wait: false, attachmentId: '', reportsEnd: false, resumes: false };
    const task = await supervisor.resolveTask(request, { signal, deadlineMs: askMs });
    return task.run !== run || task.shimAddress === '';
  } catch (error) {
    if (isAway(error) || signal.aborted) return false;
    return true;
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
  const request = { container, follow: false, details: false, stdout, stderr, afterCursor: '' };
  for await (const { stream, data } of supervisor.streamLogs(request, { signal })) {
    yield AttachContainerResponse.fromPartial({ message: { $case: 'output', value: { stream, data } } });
  }
}
