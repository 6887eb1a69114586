import { subscribe } from 'node:diagnostics_channel';
import type { Http2Session, ServerHttp2Stream } from 'node:http2';

/**
 * Bytes that a stream and a connection may be ahead of their reader. HTTP/2's 64 KiB make each message of 1 MiB stop and wait for
 * the other process sixteen times.
 */
export const flowControlWindow: number = 256 << 10;

let subscribed = false;
const widened = new WeakSet<Http2Session>();

/**
 * Lets the clients of this process's servers send that much ahead. grpc-js has an option for its clients alone; a server's
 * sessions show themselves on Node's diagnostics channel, with their first call.
 */
export function widenServerWindows(): void {
  if (subscribed) return;
  subscribed = true;
  subscribe('http2.server.stream.created', onStream);
}

function onStream(message: unknown): void {
  const { session } = (message as { readonly stream: ServerHttp2Stream }).stream;
  if (session === undefined || session.destroyed || widened.has(session)) return;
  widened.add(session);
  session.settings({ initialWindowSize: flowControlWindow });
  session.setLocalWindowSize(flowControlWindow);
}
