import { invalidField } from '@flotilla/errors';
import { type AttachRequest, AttachResponse, type AttachStart } from '@flotilla/proto/flotilla/shim/v1/shim';
import { OutputStream } from '@flotilla/proto/flotilla/v1/stream';
import type { CallContext } from '@flotilla/rpc';
import type { ClientMessage, OutputClient, StreamName } from '../streams/output-client.ts';
import type { Positions, ProcessStreams } from '../streams/process-streams.ts';
import type { Attachments } from '../task/attachments.ts';

/** What a client attaches to. */
export interface AttachTarget {
  readonly streams: ProcessStreams;
  /** End of input when the client goes; one whose connection broke may come back. */
  readonly inputEndsWithClient: () => boolean;
  /** Number of the run. */
  readonly run: bigint;
  /** Told once the client has its place, so that output that waited can come. */
  readonly attached: () => void;
}

const streamNumbers = {
  stdout: OutputStream.OUTPUT_STREAM_STDOUT,
  stderr: OutputStream.OUTPUT_STREAM_STDERR,
} as const;

/** ShimService.Attach. */
export async function* attach(
  requests: AsyncIterable<AttachRequest>,
  { signal }: CallContext,
  find: (execId: string) => AttachTarget,
  attachments: Attachments,
): AsyncGenerator<AttachResponse> {
  const input = requests[Symbol.asyncIterator]();
  const start = firstMessage(await input.next());
  const target = find(start.execId);
  const positions = positionsOf(start);
  const { stdout = target.streams.position('stdout'), stderr = target.streams.position('stderr') } = positions;
  const client = target.streams.attach(wantedStreams(start), positions);
  if (start.stdin) target.streams.keepInput();
  const gone = () => client.close();
  signal.addEventListener('abort', gone, { once: true });
  attachments.enter(start.expected);
  target.attached();
  let left = false;
  try {
    const failed: unknown[] = [];
    const leave = () => {
      left = true;
      client.close();
    };
    passInput({ input, start, streams: target.streams, client, leave }).catch((error: unknown) => {
      failed.push(error);
      client.close();
    });
    const places = { stdoutPosition: BigInt(stdout), stderrPosition: BigInt(stderr) };
    yield AttachResponse.fromPartial({
      message: { $case: 'started', value: { tty: target.streams.hasTerminal, run: target.run, ...places } },
    });
    for await (const message of client) yield toResponse(message);
    if (failed.length > 0) throw failed[0];
  } finally {
    signal.removeEventListener('abort', gone);
    target.streams.detach(client);
    if (start.stdin && target.inputEndsWithClient()) {
      if (left) target.streams.closeInput();
      else target.streams.closeInputLater();
    }
    attachments.leave();
  }
}

function firstMessage(first: IteratorResult<AttachRequest>): AttachStart {
  const message = first.done === true ? undefined : first.value.message;
  if (message?.$case !== 'start') throw invalidField('message', 'start, the first time', message?.$case ?? 'nothing');
  return message.value;
}

function wantedStreams({ stdout, stderr }: AttachStart): ReadonlySet<StreamName> {
  const streams = new Set<StreamName>();
  if (stdout) streams.add('stdout');
  if (stderr) streams.add('stderr');
  return streams;
}

function positionsOf({ expected, stdoutPosition, stderrPosition }: AttachStart): Positions {
  // The start has not waited for ever: what came meanwhile is this client's, too.
  if (expected && stdoutPosition === undefined && stderrPosition === undefined) return { stdout: 0, stderr: 0 };
  return {
    ...(stdoutPosition === undefined ? {} : { stdout: Number(stdoutPosition) }),
    ...(stderrPosition === undefined ? {} : { stderr: Number(stderrPosition) }),
  };
}

interface InputOptions {
  readonly input: AsyncIterator<AttachRequest>;
  readonly start: AttachStart;
  readonly streams: ProcessStreams;
  readonly client: OutputClient;
  readonly leave: () => void;
}

/** Takes the next message only when the last was written: a process that does not read makes its client wait. */
async function passInput({ input, start, streams, client, leave }: InputOptions): Promise<void> {
  for (let messages = 0; ; messages++) {
    if (start.stdin) client.inputTaken({ messages, bytes: 0 });
    const { done, value } = await input.next();
    if (done === true || streams.isInputStopped) return;
    const { message } = value;
    switch (message?.$case) {
      case 'stdin': {
        if (!start.stdin) throw invalidField('message', 'no stdin when start.stdin is false', 'stdin');
        const bytes = await streams.write(message.value);
        if (bytes < message.value.length) return client.inputTaken({ messages, bytes });
        break;
      }
      case 'closeStdin':
        if (!start.stdin) throw invalidField('message', 'no close_stdin when start.stdin is false', 'close_stdin');
        streams.closeInput();
        break;
      case 'resize':
        if (streams.hasTerminal) streams.resize(message.value);
        break;
      case 'leave':
        leave();
        return;
      default:
        throw invalidField('message', 'stdin, close_stdin, resize or leave', message?.$case ?? 'nothing');
    }
  }
}

function toResponse(message: ClientMessage): AttachResponse {
  if (message.kind === 'ended') {
    return AttachResponse.fromPartial({ message: { $case: 'ended', value: { exitCode: message.exitCode } } });
  }
  if (message.kind === 'inputTaken') {
    const value = { messages: BigInt(message.messages), bytes: BigInt(message.bytes) };
    return AttachResponse.fromPartial({ message: { $case: 'inputTaken', value } });
  }
  const { stream, data, position } = message;
  const value = { stream: streamNumbers[stream], data, position: BigInt(position) };
  return { message: { $case: 'output', value } } as AttachResponse;
}
