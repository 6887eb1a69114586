import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import process from 'node:process';
import type { Logger } from '@flotilla/log';
import { VersionResponse, VersionServiceService } from '@flotilla/proto/flotilla/v1/version';
import { Server as GrpcServer, ServerCredentials, type ServerInterceptor } from '@grpc/grpc-js';
import { isAllowedPeer, refusePeer } from './allowed-peer.ts';
import { widenServerWindows } from './flow-control.ts';
import { CallTracker, type Implementation, implement } from './implement.ts';
import { addHealth, addReflection } from './lazy-services.ts';
import { saveCompileCache } from './save-compile-cache.ts';
import { tellManager } from './service-manager.ts';
import { engineVersion, protocolVersion } from './version.ts';

/** The descriptor on which systemd's protocol hands over the first socket: sd_listen_fds(3). */
const firstPassedDescriptor = 3;

/** How long connections that were told to end may take to do so. */
const goodbyeMs = 500;

export interface ServeOptions {
  /** Where to listen when no socket was passed. */
  readonly socketPath: string;
  readonly implementations: readonly Implementation[];
  /** The process's name. */
  readonly service: string;
  readonly log: Logger;
  /** How long calls under way may take once the server stops, milliseconds; 5 s when absent. */
  readonly drainMs?: number;
  /** False for a process that was forked and has its parent's environment; no service manager is told of it either. */
  readonly usePassedSocket?: boolean;
}

export interface RpcServer extends AsyncDisposable {
  /**
   * Takes no more connections; those that are there go on. A socket of one's own loses its name here and never later, when
   * the name may be another's.
   */
  stopListening(): void;
  /** Stops listening, ends streams with SERVICE_STOPPING, lets unary calls finish, closes. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Serves gRPC on a unix socket: on the one passed by the systemd protocol (LISTEN_FDS), which outlives this process, or
 * on one of its own. Every process of the engine also serves health, reflection and Version.
 */
export async function serve(options: ServeOptions): Promise<RpcServer> {
  const { implementations, service, log, drainMs = 5_000 } = options;
  widenServerWindows();
  const calls = new CallTracker();
  const all = [...implementations, versionService(service)];
  const open = (interceptors: readonly ServerInterceptor[] = []) => {
    const grpc = new GrpcServer({ 'grpc.max_receive_message_length': 16 << 20, interceptors: [...interceptors] });
    for (const implementation of all) {
      grpc.addService(toGrpcDefinition(implementation), implementation.bind(log, calls));
    }
    const names = all.map(({ name }) => name);
    addHealth(grpc, names);
    addReflection(grpc, names);
    return { grpc, injector: grpc.createConnectionInjector(ServerCredentials.createInsecure()) };
  };
  const { grpc, injector } = open();
  let refusing: ReturnType<typeof open> | undefined;
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    if (isAllowedPeer(socket)) return injector.injectConnection(socket);
    log.warn({}, 'a peer was refused that is neither root nor our user');
    refusing ??= open([refusePeer]);
    refusing.injector.injectConnection(socket);
  });
  await listen(listener, options);
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
  listener.once('close', onClosed);
  const { usePassedSocket: isManaged = true } = options;
  if (isManaged) {
    saveCompileCache(); // not in a fork, which has its parent's code
    await tellManager({ READY: '1', STATUS: 'serves' });
  }
  return {
    stopListening: () => void listener.close(),
    async [Symbol.asyncDispose]() {
      if (isManaged) await tellManager({ STOPPING: '1', STATUS: 'finishes its calls' });
      listener.close();
      calls.stopStreams(service);
      injector.drain(drainMs);
      refusing?.injector.drain(0);
      // Closed once the last connection is: each goes when its last call is answered, at the latest after drainMs. Even then
      // Node.js waits for the other end to go, too, which one that does not read never does.
      const timer = setTimeout(() => {
        for (const socket of sockets) socket.destroy();
      }, drainMs + goodbyeMs);
      await closed;
      clearTimeout(timer);
      for (const one of [{ grpc, injector }, ...(refusing === undefined ? [] : [refusing])]) {
        one.injector.destroy();
        one.grpc.forceShutdown();
      }
    },
  };
}

function toGrpcDefinition({ service }: Implementation): Parameters<GrpcServer['addService']>[0] {
  return service as unknown as Parameters<GrpcServer['addService']>[0];
}

async function listen(listener: NetServer, { socketPath, usePassedSocket = true }: ServeOptions): Promise<void> {
  const { LISTEN_PID: forPid, LISTEN_FDS: count } = process.env;
  const passed = usePassedSocket && count !== undefined && Number(count) > 0 && forPid === String(process.pid);
  if (passed) {
    // Node's children must not believe that they were given it.
    delete process.env.LISTEN_PID;
    delete process.env.LISTEN_FDS;
    listener.listen({ fd: firstPassedDescriptor });
    await once(listener, 'listening');
    return;
  }
  rmSync(socketPath, { force: true });
  listener.listen({ path: socketPath, backlog: 511 });
  await once(listener, 'listening');
  chmodSync(socketPath, 0o600);
}

function versionService(service: string): Implementation {
  const startedAtUnixNano = BigInt(Math.round(performance.timeOrigin * 1e6));
  return implement(VersionServiceService, {
    version: async () =>
      VersionResponse.fromPartial({
        service,
        version: engineVersion,
        protocol: protocolVersion,
        nodeVersion: process.versions.node,
        pid: process.pid,
        startedAtUnixNano,
      }),
  });
}
