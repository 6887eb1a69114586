import { FlotillaError } from '@flotilla/errors';
// Not the package's root: a command-line client has no use for a logger.
import { currentRequestId } from '@flotilla/log/request-id';
import {
  type ClientDuplexStream,
  connectivityState,
  credentials,
  Client as GrpcClient,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { flowControlWindow } from './flow-control.ts';
import { fromGrpcError } from './grpc-errors.ts';
import { Interruptible } from './interruptible.ts';
import type { MethodShape, RequestOf, ResponseOf, ServiceShape } from './service-shape.ts';

export interface ClientOptions {
  /** `unix:///run/flotilla/image.sock`. */
  readonly address: string;
  /** The service in errors: `image`. */
  readonly name: string;
  /** How long a unary call may take, its wait for the service included; 10 s when absent, `Infinity` for none. */
  readonly deadlineMs?: number;
  /** Calls that got no answer because the service went away are sent again: for idempotent services. */
  readonly retry?: boolean;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Instead of the client's; streams have none unless it is given. */
  readonly deadlineMs?: number | undefined;
}

type ClientMethod<Method extends MethodShape> = Method['requestStream'] extends true
  ? Method['responseStream'] extends true
    ? (requests: AsyncIterable<RequestOf<Method>>, options?: CallOptions) => AsyncIterable<ResponseOf<Method>>
    : (requests: AsyncIterable<RequestOf<Method>>, options?: CallOptions) => Promise<ResponseOf<Method>>
  : Method['responseStream'] extends true
    ? (request: RequestOf<Method>, options?: CallOptions) => AsyncIterable<ResponseOf<Method>>
    : (request: RequestOf<Method>, options?: CallOptions) => Promise<ResponseOf<Method>>;

/** A service's methods as async functions and async iterables. Fails with FlotillaError alone. */
export type Client<Service extends ServiceShape> = Disposable & {
  readonly [Name in keyof Service]: ClientMethod<Service[Name]>;
};

const defaultDeadlineMs = 10_000;

// A service that restarts is back within a moment: asks often, and lets a call wait instead of failing it.
const channelOptions = {
  'grpc.initial_reconnect_backoff_ms': 20,
  'grpc.min_reconnect_backoff_ms': 20,
  'grpc.max_reconnect_backoff_ms': 250,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_receive_message_length': 16 << 20,
  'grpc.service_config_disable_resolution': 1,
  'grpc-node.flow_control_window': flowControlWindow,
};

const retryConfig = JSON.stringify({
  loadBalancingConfig: [{ pick_first: {} }],
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: '0.05s',
        maxBackoff: '1s',
        backoffMultiplier: 2,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
});

/** Makes a client. Connects at the first call, and again whenever it has to: a call waits until the service is there. */
export function connect<const Service extends ServiceShape>(service: Service, options: ClientOptions): Client<Service> {
  const grpc = new GrpcClient(options.address, credentials.createInsecure(), {
    ...channelOptions,
    // Without a policy only what no handler has seen is sent again: a server that stops refuses what crossed its farewell.
    ...(options.retry === true ? { 'grpc.service_config': retryConfig } : {}),
  });
  const methods = Object.entries(service).map(([name, method]) => [name, clientMethod(grpc, method, options)] as const);
  return Object.assign(Object.fromEntries(methods), {
    [Symbol.dispose]: () => grpc.close(),
  }) as unknown as Client<Service>;
}

function clientMethod(grpc: GrpcClient, method: MethodShape, options: ClientOptions): unknown {
  if (method.requestStream && method.responseStream) {
    return (requests: AsyncIterable<unknown>, call?: CallOptions) =>
      bidiCall(grpc, method, options, requests, call ?? {});
  }
  if (method.requestStream) {
    return (requests: AsyncIterable<unknown>, call?: CallOptions) =>
      clientStreamCall(grpc, method, options, requests, call ?? {});
  }
  if (method.responseStream) {
    return (request: unknown, call?: CallOptions) => serverStreamCall(grpc, method, options, request, call ?? {});
  }
  return (request: unknown, call?: CallOptions) => unaryCall(grpc, method, options, request, call ?? {});
}

interface Prepared {
  readonly serialize: (value: unknown) => Buffer;
  readonly deserialize: (bytes: Buffer) => unknown;
  readonly metadata: Metadata;
  readonly grpcOptions: { deadline?: number };
  readonly toError: (error: ServiceError) => FlotillaError;
}

function prepare(method: MethodShape, { name, deadlineMs: usual }: ClientOptions, call: CallOptions): Prepared {
  const metadata = new Metadata({ waitForReady: true });
  const requestId = currentRequestId();
  if (requestId !== undefined) metadata.set('x-request-id', requestId);
  const streams = method.requestStream || method.responseStream;
  const deadlineMs = call.deadlineMs ?? (streams ? Number.POSITIVE_INFINITY : (usual ?? defaultDeadlineMs));
  const limited = Number.isFinite(deadlineMs);
  return {
    serialize: method.requestSerialize as (value: unknown) => Buffer,
    deserialize: method.responseDeserialize,
    metadata,
    grpcOptions: limited ? { deadline: Date.now() + deadlineMs } : {},
    toError: (error) =>
      fromGrpcError(error, {
        service: name,
        deadlineMs: limited ? deadlineMs : undefined,
        cancelledByCaller: call.signal?.aborted === true,
      }),
  };
}

/**
 * A call without a deadline may take for ever, but must not wait for ever for a service that is not there:
 * UNAVAILABLE / SERVICE_UNAVAILABLE after the client's usual deadline.
 */
async function untilReady(
  grpc: GrpcClient,
  options: ClientOptions,
  { deadline }: Prepared['grpcOptions'],
): Promise<void> {
  const { name: service, deadlineMs = defaultDeadlineMs } = options;
  if (deadline !== undefined || !Number.isFinite(deadlineMs)) return;
  if (grpc.getChannel().getConnectivityState(true) === connectivityState.READY) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  grpc.waitForReady(Date.now() + deadlineMs, (error) => (error === undefined ? resolve() : reject(error)));
  await promise.catch((cause: unknown) => {
    throw new FlotillaError('unavailable', `the ${service} service did not answer within ${deadlineMs / 1000} s`, {
      reason: 'SERVICE_UNAVAILABLE',
      metadata: { service, deadlineMs: String(deadlineMs) },
      cause,
    });
  });
}

/** Cancels a call once the caller's signal is aborted, until it is disposed of. */
function cancelOnAbort(call: { cancel(): void }, signal: AbortSignal | undefined): Disposable {
  const cancel = () => call.cancel();
  if (signal?.aborted === true) cancel();
  else signal?.addEventListener('abort', cancel, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', cancel) };
}

async function unaryCall(
  grpc: GrpcClient,
  method: MethodShape,
  options: ClientOptions,
  request: unknown,
  call: CallOptions,
): Promise<unknown> {
  const { serialize, deserialize, metadata, grpcOptions, toError } = prepare(method, options, call);
  await untilReady(grpc, options, grpcOptions);
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const done = (error: ServiceError | null, value?: unknown) => {
    if (error === null) resolve(value);
    else reject(toError(error));
  };
  const running = grpc.makeUnaryRequest(method.path, serialize, deserialize, request, metadata, grpcOptions, done);
  using _cancelling = cancelOnAbort(running, call.signal);
  return await promise;
}

async function clientStreamCall(
  grpc: GrpcClient,
  method: MethodShape,
  options: ClientOptions,
  requests: AsyncIterable<unknown>,
  call: CallOptions,
): Promise<unknown> {
  const { serialize, deserialize, metadata, grpcOptions, toError } = prepare(method, options, call);
  await untilReady(grpc, options, grpcOptions);
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const running = grpc.makeClientStreamRequest(
    method.path,
    serialize,
    deserialize,
    metadata,
    grpcOptions,
    (error, value) => (error === null ? resolve(value) : reject(toError(error))),
  );
  using _cancelling = cancelOnAbort(running, call.signal);
  const settled = promise.then(
    () => {},
    () => {},
  );
  const sent = sendAll(requests, running, settled).catch((error: unknown) => {
    running.cancel();
    throw error;
  });
  sent.catch(() => {});
  // The answer may come before everything is sent; a failure to produce the requests wins over the cancellation.
  return await Promise.race([promise, sent.then(() => promise)]).catch(async (error: unknown) => {
    await Promise.race([sent, settled]);
    throw error;
  });
}

async function* serverStreamCall(
  grpc: GrpcClient,
  method: MethodShape,
  options: ClientOptions,
  request: unknown,
  call: CallOptions,
): AsyncGenerator<unknown> {
  const { serialize, deserialize, metadata, grpcOptions, toError } = prepare(method, options, call);
  await untilReady(grpc, options, grpcOptions);
  const running = grpc.makeServerStreamRequest(method.path, serialize, deserialize, request, metadata, grpcOptions);
  running.on('error', () => {}); // One that comes after the loop was left has no other listener.
  using _cancelling = cancelOnAbort(running, call.signal);
  try {
    for await (const message of running) yield message;
  } catch (error) {
    throw toError(error as ServiceError);
  } finally {
    running.cancel();
  }
}

async function* bidiCall(
  grpc: GrpcClient,
  method: MethodShape,
  options: ClientOptions,
  requests: AsyncIterable<unknown>,
  call: CallOptions,
): AsyncGenerator<unknown> {
  const { serialize, deserialize, metadata, grpcOptions, toError } = prepare(method, options, call);
  await untilReady(grpc, options, grpcOptions);
  const running: ClientDuplexStream<unknown, unknown> = grpc.makeBidiStreamRequest(
    method.path,
    serialize,
    deserialize,
    metadata,
    grpcOptions,
  );
  running.on('error', () => {}); // As above.
  using _cancelling = cancelOnAbort(running, call.signal);
  const { promise: over, resolve: end } = Promise.withResolvers<void>();
  let failure: { error: unknown } | undefined;
  sendAll(requests, running, over).catch((error: unknown) => {
    failure = { error };
    running.cancel();
  });
  try {
    for await (const message of running) yield message;
  } catch (error) {
    throw failure === undefined ? toError(error as ServiceError) : failure.error;
  } finally {
    end();
    running.cancel();
  }
}

interface Writable {
  write(message: unknown): boolean;
  end(): void;
  once(event: 'drain', listener: () => void): unknown;
}

/** Sends until the requests or the call is over; waits while the other side is slow. */
async function sendAll(requests: AsyncIterable<unknown>, call: Writable, over: Promise<void>): Promise<void> {
  const iterator = requests[Symbol.asyncIterator]();
  const interruptible = new Interruptible();
  const isOver = {};
  void over.then(() => interruptible.interrupt(isOver));
  try {
    for (;;) {
      const { done, value } = await interruptible.wait(iterator.next());
      if (done === true) break;
      if (!call.write(value)) await interruptible.wait(new Promise((resolve) => call.once('drain', () => resolve({}))));
    }
    call.end();
  } catch (error) {
    if (error !== isOver) throw error;
    call.end();
  } finally {
    void Promise.resolve(iterator.return?.()).catch(() => {});
  }
}
