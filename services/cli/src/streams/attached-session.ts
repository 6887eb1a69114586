import { type Engine, isUnavailable, retryWhileUnavailable } from '@flotilla/client';
import { FlotillaError, hasReason } from '@flotilla/errors';
import { type AttachContainerResponse, AttachStart, type WaitCondition } from '@flotilla/proto/flotilla/v1/container';
import { exitCodes } from '../failure.ts';
import { ClientInput } from './client-input.ts';
import { writeOutput } from './output.ts';
import { OutputPlace } from './output-place.ts';
import { type BrokenSession, copyRestFromLogs } from './rest-from-logs.ts';
import { proxySignals } from './signals.ts';
import { rawTerminal } from './terminal.ts';

export interface SessionOptions {
  readonly containerId: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  /** The container was made with the first client's input as its own: it ends with that. */
  readonly stdinOnce: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly detachKeys: string;
  readonly sigProxy: boolean;
  /** The last run that does not count: the one whose end is waited for is a later one. */
  readonly afterRun: bigint;
  /** The container removes itself: only then is it over. */
  readonly autoRemove: boolean;
  /** Starts the container, once everything is attached. */
  readonly begin?: () => Promise<unknown>;
}

/**
 * Attaches to a container, starts it if asked to, carries streams and signals, and returns the container's exit code; 0 when
 * the user detaches. Goes on when the engine is restarted meanwhile.
 */
export async function attachedSession(engine: Engine, options: SessionOptions): Promise<number> {
  const { containerId, tty, stdin, stdinOnce, stdout, stderr, detachKeys, sigProxy, begin } = options;
  using input = new ClientInput({ stdin, keepsOpen: !stdinOnce, resize: tty });
  using signals = proxySignals(sigProxy, (signal) =>
    engine.containers.killContainer({ container: containerId, signal }),
  );
  const start = AttachStart.fromPartial({ container: containerId, stdin, stdout, stderr, detachKeys });
  const place = new OutputPlace({ fromStart: begin !== undefined });
  const session = { input, start, place, afterRun: options.afterRun };
  let output: Attachment | undefined = openAttachment(engine, input, start);
  await started(output, place); // From here on nothing that the container says is missed.
  const exited = waitForExit(engine, options, BigInt(Date.now()) * 1_000_000n);
  exited.catch(() => {}); // Reported where it is awaited.
  await begin?.();
  signals.release();
  using _raw = await rawTerminal(tty && stdin);
  while (output !== undefined) {
    try {
      if (await copyOutput(output, place)) return 0;
      return await exited;
    } catch (error) {
      if (!isUnavailable(error) && !logReasons.some((reason) => hasReason(error, reason))) throw error;
      output = isUnavailable(error) ? await attachAgain(engine, session) : undefined;
    }
  }
  if (place.resume() !== undefined) await copyRestFromLogs(engine, session);
  return await exited;
}

/** What the container wrote is in its log alone. */
const logReasons = ['RUN_OVER', 'OUTPUT_EXPIRED', 'CLIENT_TOO_SLOW'];

type Attachment = AsyncIterator<AttachContainerResponse>;

function openAttachment(engine: Engine, input: ClientInput, start: AttachStart): Attachment {
  const first = { $case: 'start' as const, value: start };
  return engine.containers.attachContainer(input.messages(first))[Symbol.asyncIterator]();
}

/** Waits for the first message. */
async function started(output: Attachment, place: OutputPlace): Promise<void> {
  const { value } = await output.next();
  if (value?.message?.$case === 'started') place.attach(value.message.value);
}

/** Writes what comes. Returns whether the user detached. */
async function copyOutput(output: Attachment, place: OutputPlace): Promise<boolean> {
  for (;;) {
    const { done, value } = await output.next();
    if (done === true) return false;
    const { message } = value;
    if (message?.$case === 'connected') place.connect(message.value);
    if (message?.$case === 'output') {
      await writeOutput(message.value);
      place.pass(message.value);
    }
    if (message?.$case === 'ended') return message.value.detached;
  }
}

/** Goes on where the output had come to, after the engine was away; undefined when only the log has the rest. */
async function attachAgain(engine: Engine, session: BrokenSession): Promise<Attachment | undefined> {
  const { input, start, place } = session;
  try {
    return await retryWhileUnavailable(async () => {
      const output = openAttachment(engine, input, { ...start, resume: await findResume(engine, session) });
      input.repeatSize();
      await started(output, place);
      return output;
    });
  } catch (error) {
    if ([...logReasons, 'CONTAINER_NOT_FOUND'].some((reason) => hasReason(error, reason))) return undefined;
    throw error;
  }
}

/** Where to go on. When it was never connected to a run: at the start of one that has begun meanwhile. */
async function findResume(engine: Engine, { start, place, afterRun }: BrokenSession) {
  if (place.isKnown) return place.resume();
  const { container } = await engine.containers.getContainer({ container: start.container });
  const run = container?.status?.run ?? 0n;
  return run > afterRun ? place.resume(run) : undefined;
}

async function waitForExit(engine: Engine, options: SessionOptions, sinceUnixNano: bigint): Promise<number> {
  const { containerId: container, afterRun, autoRemove } = options;
  const condition: WaitCondition = autoRemove ? 'WAIT_CONDITION_REMOVED' : 'WAIT_CONDITION_NEXT_EXIT';
  try {
    const { exitCode, error } = await retryWhileUnavailable(() =>
      engine.containers.waitContainer({ container, condition, afterRun }, { deadlineMs: Number.POSITIVE_INFINITY }),
    );
    if (error !== '') throw new FlotillaError('internal', error, { reason: 'CONTAINER_FAILED' });
    return exitCode;
  } catch (error) {
    if (!hasReason(error, 'CONTAINER_NOT_FOUND')) throw error;
    // It removed itself while the supervisor was away: the history of events knows how it ended.
    return (await exitCodeFromEvents(engine, container, sinceUnixNano)) ?? exitCodes.engine;
  }
}

async function exitCodeFromEvents(engine: Engine, container: string, sinceUnixNano: bigint) {
  const request = {
    afterSequence: 0n,
    sinceUnixNano,
    untilUnixNano: BigInt(Date.now()) * 1_000_000n,
    types: ['container'],
    actions: ['die'],
    actors: [container],
    labels: [],
  };
  let code: number | undefined;
  for await (const { event } of engine.events.streamEvents(request)) {
    const text = event?.attributes.exitCode;
    if (text !== undefined) code = Number(text);
  }
  return code;
}
