import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { LauncherRequest } from '@flotilla/proto/flotilla/launcher/v1/launcher';
import { encodeFrame } from '../../launcher/frame.ts';
import type { Bundle } from '../bundle.ts';

const firstPauseMs = 20;
const longestPauseMs = 1_000;

/**
 * Has the launcher close its copy of a container's input, without which the container does not see the end of it. The
 * launcher may be away: asked again until it answers, or until the signal.
 */
export async function releaseStdin({ options }: Bundle, signal: AbortSignal): Promise<void> {
  const { containerId, run, launcherSocket } = options;
  if (launcherSocket === '') return;
  const request = { $case: 'closeStdin' as const, value: { containerId, run } };
  const frame = encodeFrame(LauncherRequest.encode({ request }).finish());
  for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    if (await isAnswered(launcherSocket, frame)) return;
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
  }
}

/** Any answer will do: it is an error only where the launcher is of a release that keeps nothing. */
function isAnswered(path: string, frame: Uint8Array): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection({ path });
  socket.once('data', () => resolve(true));
  socket.once('error', () => resolve(false));
  socket.once('close', () => resolve(false));
  socket.write(frame);
  return promise.finally(() => socket.destroy());
}
