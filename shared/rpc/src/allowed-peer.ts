import type { Socket } from 'node:net';
import process from 'node:process';
import { FlotillaError } from '@flotilla/errors';
import { getPeerCredentials } from '@flotilla/linux/sockets';
import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';
import { toGrpcStatus } from './grpc-errors.ts';

/**
 * Whether root or this process's own user has connected: unix(7), SO_PEERCRED. The mode of the socket and of its folder says
 * so too; this holds when they do not, as with a folder that an operator has opened.
 */
export function isAllowedPeer(socket: Socket): boolean {
  // Not documented, and in every release of Node: there is no other way to a socket's descriptor.
  const { _handle: handle } = socket as unknown as { readonly _handle?: { readonly fd?: number } | null };
  if (handle?.fd === undefined || handle.fd < 0) return false; // It has gone again.
  const { uid } = getPeerCredentials(handle.fd);
  return uid === 0 || uid === process.geteuid?.();
}

/** Answers each call of a peer that is not allowed: PERMISSION_DENIED / PEER_NOT_ALLOWED. */
export const refusePeer: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start: (next) => {
      next();
      const message = 'only root and the user of the engine may talk to its services';
      call.sendStatus(
        toGrpcStatus(new FlotillaError('permission_denied', message, { reason: 'PEER_NOT_ALLOWED' }), ''),
      );
    },
  });
