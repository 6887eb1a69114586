import { connect } from 'node:net';
import { LauncherReply, LauncherRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';

/** Process id of the launcher that answers on a socket. Rejects when none does in time. */
export async function askLauncherPid(socketPath: string, deadlineMs: number): Promise<number> {
  const request = LauncherRequest.encode({ request: { $case: 'state', value: {} } }).finish();
  // Both messages are short, so that their lengths are varints of one byte, or two.
  const answer = await exchange(socketPath, Buffer.concat([Buffer.of(request.length), request]), deadlineMs);
  const { reply } = LauncherReply.decode(answer.subarray((answer[0] ?? 0) < 0x80 ? 1 : 2));
  if (reply?.$case !== 'state') throw new Error('the launcher answered something else');
  return reply.value.pid;
}

/** Sends all, and gives all that comes until the other side closes. */
async function exchange(path: string, request: Buffer, deadlineMs: number): Promise<Buffer> {
  const socket = connect(path);
  const signal = AbortSignal.timeout(deadlineMs);
  signal.addEventListener('abort', () => socket.destroy(new Error(`no answer within ${deadlineMs} ms`)));
  socket.write(request);
  const pieces: Buffer[] = [];
  for await (const piece of socket) pieces.push(piece as Buffer);
  if (pieces.length === 0) throw new Error('the launcher closed the connection');
  return Buffer.concat(pieces);
}
