import type { EventEmitter } from 'node:events';
import { FlotillaError } from '@flotilla/errors';
import { type Logger, newRequestId, withRequestId } from '@flotilla/log';
import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { toGrpcStatus } from './grpc-errors.ts';
import { Interruptible } from './interruptible.ts';
import {
  type MethodShape,
  type RequestOf,
  type ResponseOf,
  type ServiceShape,
  serviceNameOf,
} from './service-shape.ts';

/** What a handler knows of its call. */
export interface CallContext {
  /** Aborted when the caller went away, its deadline passed or the server stops. */
  readonly signal: AbortSignal;
  /** Aborted with UNAVAILABLE / SERVICE_STOPPING when the server stops: for unary calls that may wait for ever. */
  readonly stopping: AbortSignal;
  readonly requestId: string;
  readonly log: Logger;
  /** Absent when the caller gave none. */
  readonly deadline: Date | undefined;
}

type Handler<Method extends MethodShape> = Method['requestStream'] extends true
  ? Method['responseStream'] extends true
    ? (requests: AsyncIterable<RequestOf<Method>>, context: CallContext) => AsyncIterable<ResponseOf<Method>>
    : (requests: AsyncIterable<RequestOf<Method>>, context: CallContext) => Promise<ResponseOf<Method>>
  : Method['responseStream'] extends true
    ? (request: RequestOf<Method>, context: CallContext) => AsyncIterable<ResponseOf<Method>>
    : (request: RequestOf<Method>, context: CallContext) => Promise<ResponseOf<Method>>;

/** A handler for each method that is there; the others answer UNIMPLEMENTED. */
export type Handlers<Service extends ServiceShape> = { readonly [Name in keyof Service]?: Handler<Service[Name]> };

/** A service ready to be served. */
export interface Implementation {
  readonly name: string;
  readonly service: ServiceShape;
  /** grpc-js's own form; `calls` watches over those that are under way. */
  bind(log: Logger, calls: CallTracker): UntypedServiceImplementation;
}

/** The calls that are under way, so that a server that stops can end their streams. */
export class CallTracker {
  readonly #streams = new Set<AbortController>();
  readonly #stopping = new AbortController();

  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  add(controller: AbortController): void {
    this.#streams.add(controller);
  }

  remove(controller: AbortController): void {
    this.#streams.delete(controller);
  }

  /** Ends all streams with a code that says: come back. */
  stopStreams(service: string): void {
    const reason = new FlotillaError('unavailable', `the ${service} service is stopping`, {
      reason: 'SERVICE_STOPPING',
      metadata: { service },
    });
    this.#stopping.abort(reason);
    for (const controller of this.#streams) controller.abort(reason);
  }
}

/** Gives a service its handlers: async functions and async generators over plain messages. */
export function implement<const Service extends ServiceShape>(
  service: Service,
  handlers: Handlers<Service>,
): Implementation {
  const name = serviceNameOf(service);
  return {
    name,
    service,
    bind: (log, calls) =>
      Object.fromEntries(
        Object.entries(service).map(([key, method]) => {
          const handler = (handlers as Readonly<Record<string, AnyHandler | undefined>>)[key] ?? unimplemented(method);
          return [key, bindMethod(method, handler, log, calls)];
        }),
      ),
  };
}

type AnyHandler = (request: unknown, context: CallContext) => Promise<unknown> | AsyncIterable<unknown>;

function unimplemented({ path, responseStream }: MethodShape): AnyHandler {
  const method = path.slice(1);
  const refusal = () =>
    new FlotillaError('unimplemented', `${method} is not implemented in this release`, {
      reason: 'UNIMPLEMENTED',
      metadata: { method },
    });
  if (!responseStream) return () => Promise.reject(refusal());
  return () => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(refusal()) }) });
}

type AnyCall =
  | ServerUnaryCall<unknown, unknown>
  | ServerReadableStream<unknown, unknown>
  | ServerWritableStream<unknown, unknown>
  | ServerDuplexStream<unknown, unknown>;

function bindMethod(method: MethodShape, handler: AnyHandler, log: Logger, calls: CallTracker): AnyGrpcHandler {
  if (method.responseStream) {
    return (call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>) => {
      void stream(method, handler, call, log, calls);
    };
  }
  return (
    call: ServerUnaryCall<unknown, unknown> | ServerReadableStream<unknown, unknown>,
    callback: (error: object | null, value?: unknown) => void,
  ) => {
    void unary(method, handler, call, callback, { log, calls });
  };
}

type AnyGrpcHandler =
  | handleUnaryCall<unknown, unknown>
  | handleClientStreamingCall<unknown, unknown>
  | handleServerStreamingCall<unknown, unknown>
  | handleBidiStreamingCall<unknown, unknown>;

async function unary(
  method: MethodShape,
  handler: AnyHandler,
  call: ServerUnaryCall<unknown, unknown> | ServerReadableStream<unknown, unknown>,
  callback: (error: object | null, value?: unknown) => void,
  { log, calls }: { readonly log: Logger; readonly calls: CallTracker },
): Promise<void> {
  const { context, controller } = openCall(call, log, calls);
  await withRequestId(context.requestId, async () => {
    const startedAt = performance.now();
    try {
      const response = await handler(inputOf(method, call), context);
      callback(null, response);
      note(log, method, startedAt);
    } catch (error) {
      if (!call.cancelled) noteFailure(log, method, startedAt, error); // nobody waits: no failure of anybody's
      callback(toGrpcStatus(error, context.requestId));
    } finally {
      controller.abort();
    }
  });
}

async function stream(
  method: MethodShape,
  handler: AnyHandler,
  call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  log: Logger,
  calls: CallTracker,
): Promise<void> {
  const { context, controller } = openCall(call, log, calls);
  calls.add(controller);
  await withRequestId(context.requestId, async () => {
    const startedAt = performance.now();
    try {
      await writeAll(handler(inputOf(method, call), context) as AsyncIterable<unknown>, call, context.signal);
      call.end();
      note(log, method, startedAt);
    } catch (error) {
      const cause =
        context.signal.aborted && context.signal.reason instanceof FlotillaError ? context.signal.reason : error;
      if (!call.cancelled) noteFailure(log, method, startedAt, cause);
      call.emit('error', toGrpcStatus(cause, context.requestId));
    } finally {
      calls.remove(controller);
      controller.abort();
    }
  });
}

async function writeAll(
  messages: AsyncIterable<unknown>,
  call: ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>,
  signal: AbortSignal,
): Promise<void> {
  const iterator = messages[Symbol.asyncIterator]();
  const interruptible = new Interruptible();
  const abort = () => interruptible.interrupt(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    for (;;) {
      const { done, value } = await interruptible.wait(iterator.next());
      if (done === true) return;
      if (!call.write(value)) await interruptible.wait(new Promise((resolve) => call.once('drain', resolve)));
    }
  } finally {
    signal.removeEventListener('abort', abort);
    // The generator's own clean-up; it may wait for something that the abort has just ended.
    void Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

function inputOf(method: MethodShape, call: AnyCall): unknown {
  if (!method.requestStream) return (call as ServerUnaryCall<unknown, unknown>).request;
  // Leaving the loop over the requests must not end the responses.
  return (call as ServerDuplexStream<unknown, unknown>).iterator({ destroyOnReturn: false });
}

function openCall(
  call: AnyCall,
  log: Logger,
  { stopping }: CallTracker,
): { context: CallContext; controller: AbortController } {
  const controller = new AbortController();
  const emitter: EventEmitter = call;
  emitter.on('cancelled', () => controller.abort(new Error('the caller cancelled the call')));
  // A duplex stream without a listener would end the process when the caller resets it.
  if ('read' in call) emitter.on('error', () => {});
  const requestId = requestIdOf(call.metadata);
  const deadline = call.getDeadline();
  return {
    controller,
    context: {
      signal: controller.signal,
      stopping,
      requestId,
      log,
      deadline: deadline === Number.POSITIVE_INFINITY ? undefined : new Date(deadline),
    },
  };
}

function requestIdOf(metadata: Metadata): string {
  const [given] = metadata.get('x-request-id');
  return typeof given === 'string' && /^[\w.:-]{1,64}$/.test(given) ? given : newRequestId();
}

function note(log: Logger, { path }: MethodShape, startedAt: number): void {
  log.debug({ rpc: path.slice(1), durationMs: performance.now() - startedAt }, 'call answered');
}

function noteFailure(log: Logger, { path }: MethodShape, startedAt: number, error: unknown): void {
  const fields = { rpc: path.slice(1), durationMs: performance.now() - startedAt };
  if (error instanceof FlotillaError) {
    log.debug({ ...fields, code: error.code, reason: error.reason, message: error.message }, 'call refused');
  } else {
    log.error({ ...fields, err: error }, 'call failed');
  }
}
