import { connect } from 'node:net';
import { LauncherReply, LauncherRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';

/** Process id of the launcher that answers on a socket. Rejects when none does in time. */
export async function askLauncherPid(socketPath: string, deadlineMs: number): Promise<number> {
  const reply = await ask(socketPath, { $case: 'state', value: {} }, deadlineMs);
  if (reply?.$case !== 'state') throw new Error('the launcher answered something else');
  return reply.value.pid;
}

/**
 * Has the launcher finish what it does, while those who ask queue for the next one, and leave. Resolves when it is about to
 * leave; false when it does not know how, or took too long.
 */
export async function drainLauncher(socketPath: string, deadlineMs: number): Promise<boolean> {
  try {
    return (await ask(socketPath, { $case: 'drain', value: {} }, deadlineMs))?.$case === 'drain';
  } catch {
    return false;
  }
}

async function ask(
  socketPath: string,
  request: LauncherRequest['request'],
  deadlineMs: number,
): Promise<LauncherReply['reply']> {
  const bytes = LauncherRequest.encode({ request }).finish();
  // Both messages are short, so that their lengths are varints of one byte, or two.
  const answer = await exchange(socketPath, Buffer.concat([Buffer.of(bytes.length), bytes]), deadlineMs);
  return LauncherReply.decode(answer.subarray((answer[0] ?? 0) < 0x80 ? 1 : 2)).reply;
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
