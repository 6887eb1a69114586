import { connect } from './connect.ts';
import { type CallContext, type Handlers, type Implementation, implement } from './implement.ts';
import { asBytes, type ServiceShape, serviceNameOf } from './service-shape.ts';

export interface ForwardOptions {
  /** `unix:///run/flotilla/image.sock`. */
  readonly address: string;
  /** The owner in errors: `image`. */
  readonly name: string;
  /** For callers that gave no deadline; `Infinity` for calls that may take for ever. */
  readonly deadlineMs?: (method: string) => number;
}

/**
 * Passes a service on to its owner, messages as bytes, with the caller's deadline, cancellation and request id; errors
 * come back as they were thrown. Methods that have a handler here are handled here.
 */
export function forward<const Service extends ServiceShape>(
  service: Service,
  { address, name, deadlineMs }: ForwardOptions,
  own: Handlers<Service> = {},
): Implementation & Disposable {
  const mixed = { ...asBytes(service) };
  for (const key of Object.keys(own)) mixed[key] = service[key]!;
  const client = connect(mixed, { address, name });
  const callOptions = (method: string, { signal, deadline }: CallContext) => ({
    signal,
    deadlineMs: deadline === undefined ? deadlineMs?.(method) : timeLeft(deadline),
  });
  const passed = Object.fromEntries(
    Object.keys(mixed).map((key) => {
      const method = client[key] as (input: unknown, options: object) => unknown;
      return [key, (input: unknown, context: CallContext) => method(input, callOptions(key, context))];
    }),
  );
  const { bind } = implement(mixed, { ...passed, ...own } as Handlers<ServiceShape>);
  return { name: serviceNameOf(service), service: mixed, bind, [Symbol.dispose]: () => client[Symbol.dispose]() };
}

/** A little less than the caller has, so that it hears who did not answer before it gives up itself. */
function timeLeft(deadline: Date): number {
  const leftMs = deadline.getTime() - Date.now();
  return Math.max(leftMs - Math.min(leftMs / 10, 250), 0);
}
