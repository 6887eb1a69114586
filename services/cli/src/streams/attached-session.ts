import process from 'node:process';
import { type Engine, isUnavailable, retryWhileUnavailable } from '@flotilla/client';
import { FlotillaError, hasReason } from '@flotilla/errors';
import { type AttachContainerResponse, AttachStart, type WaitCondition } from '@flotilla/proto/flotilla/v1/container';
import { exitCodes } from '../failure.ts';
import { ClientInput } from './client-input.ts';
import { writeOutput } from './output.ts';
import { copyRestFromLogs, SeenOutput } from './rest-from-logs.ts';
import { proxySignals } from './signals.ts';
import { rawTerminal } from './terminal.ts';

export interface SessionOptions {
  readonly containerId: string;
  readonly tty: boolean;
  readonly stdin: boolean;
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
  const { containerId, tty, stdin, stdout, stderr, detachKeys, sigProxy, begin } = options;
  using input = new ClientInput({ stdin, resize: tty });
  using signals = proxySignals(sigProxy && !tty, (signal) =>
    engine.containers.killContainer({ container: containerId, signal }),
  );
  const start = AttachStart.fromPartial({ container: containerId, stdin, stdout, stderr, detachKeys });
  let output = openAttachment(engine, input, start);
  await output.next(); // `started`: from here on nothing that the container says is missed.
  const exited = waitForExit(engine, options, BigInt(Date.now()) * 1_000_000n);
  exited.catch(() => {}); // Reported where it is awaited.
  await begin?.();
  signals.release();
  using _raw = await rawTerminal(tty && stdin);
  const seen = new SeenOutput();
  for (;;) {
    try {
      if (await copyOutput(output, seen)) return 0;
      break;
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      if (!tty && begin !== undefined) {
        await copyRestFromLogs(engine, { input, start, seen, afterRun: options.afterRun });
        break;
      }
      const again = await attachAgain(engine, input, start);
      if (again === undefined) break;
      output = again;
    }
  }
  return await exited;
}

type Attachment = AsyncIterator<AttachContainerResponse>;

function openAttachment(engine: Engine, input: ClientInput, start: AttachStart): Attachment {
  const first = { $case: 'start' as const, value: start };
  return engine.containers.attachContainer(input.messages(first))[Symbol.asyncIterator]();
}

/** Writes what comes. Returns whether the user detached. */
async function copyOutput(output: Attachment, seen: SeenOutput): Promise<boolean> {
  for (;;) {
    const { done, value } = await output.next();
    if (done === true) return false;
    const { message } = value;
    if (message?.$case === 'output') {
      seen.add(message.value);
      await writeOutput(message.value);
    }
    if (message?.$case === 'ended') return message.value.detached;
  }
}

/** After the engine was away; undefined when the container has ended meanwhile. */
async function attachAgain(engine: Engine, input: ClientInput, start: AttachStart): Promise<Attachment | undefined> {
  const { container } = start;
  return retryWhileUnavailable(async () => {
    const found = await engine.containers.getContainer({ container }).catch((error: unknown) => {
      if (hasReason(error, 'CONTAINER_NOT_FOUND')) return undefined;
      throw error;
    });
    if ((found?.container?.status?.initPid ?? 0) === 0) return undefined;
    const output = openAttachment(engine, input, start);
    input.repeatSize();
    await output.next();
    process.stderr.write("flotilla: attached again; what was written meanwhile is in 'flotilla logs'\r\n");
    return output;
  });
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
