import { connect } from 'node:net';
import { FlotillaError } from '@flotilla/errors';
import { LauncherReply, LauncherRequest, type LauncherStateReply } from '@flotilla/proto/flotilla/launcher/v1/launcher';

/** No answer about the launcher's state comes near this. */
const largestReply = 64 * 1024;

/**
 * Asks the launcher how it is: one message behind its length as a varint, and one back. UNAVAILABLE / SERVICE_UNAVAILABLE
 * when it does not answer in time.
 */
export async function askLauncherState(socketPath: string, deadlineMs: number): Promise<LauncherStateReply> {
  const request = LauncherRequest.encode({ request: { $case: 'state', value: {} } }).finish();
  const { reply } = LauncherReply.decode(await exchange(socketPath, withLength(request), deadlineMs));
  if (reply?.$case === 'state') return reply.value;
  throw unavailable(reply?.$case === 'error' ? reply.value.message : 'answered something else');
}

function exchange(socketPath: string, request: Buffer, deadlineMs: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const socket = connect(socketPath);
  const timer = setTimeout(() => reject(unavailable(`did not answer within ${deadlineMs / 1000} s`)), deadlineMs);
  let received = Buffer.alloc(0);
  socket.on('error', (cause) => reject(unavailable('cannot be reached', cause)));
  socket.on('close', () => reject(unavailable('closed the connection')));
  socket.on('data', (piece: Buffer) => {
    received = Buffer.concat([received, piece]);
    const message = findMessage(received);
    if (message !== undefined) resolve(message);
    else if (received.length > largestReply) reject(unavailable('answered too much'));
  });
  socket.write(request);
  return promise.finally(() => {
    clearTimeout(timer);
    socket.destroy();
  });
}

function withLength(message: Uint8Array): Buffer {
  const length: number[] = [];
  let rest = message.length;
  for (; rest > 0x7f; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Buffer.from([...length, rest]), message]);
}

/** The message in what was received, or undefined while a part of it is still to come. */
function findMessage(received: Buffer): Buffer | undefined {
  let length = 0;
  for (let at = 0; at < 5; at++) {
    const byte = received[at];
    if (byte === undefined) return undefined;
    length |= (byte & 0x7f) << (7 * at);
    if (byte < 0x80) return received.length >= at + 1 + length ? received.subarray(at + 1, at + 1 + length) : undefined;
  }
  throw unavailable('answered something else');
}

function unavailable(what: string, cause?: unknown): FlotillaError {
  return new FlotillaError('unavailable', `the launcher ${what}`, {
    reason: 'SERVICE_UNAVAILABLE',
    metadata: { service: 'launcher' },
    cause,
  });
}
