import { globSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader';

const protoRoot = fileURLToPath(new URL('../../proto', import.meta.url));

type Message = Record<string, unknown>;

/** Read once a process. */
let contracts: PackageDefinition | undefined;
const readContracts = (): PackageDefinition =>
  loadSync(globSync('flotilla/{,image/}v1/*.proto', { cwd: protoRoot }), {
    includeDirs: [protoRoot],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  });

/** A client made from the .proto files alone, as any language could make one. */
export class GrpcClient implements Disposable {
  readonly #client: Client;

  constructor(socketPath: string) {
    this.#client = new Client(`unix://${socketPath}`, credentials.createInsecure());
  }

  /**
   * A unary call: `call('ContainerService', 'StartContainer', {…})`; a service that is not public has its whole name. Rejects
   * with grpc-js's error.
   */
  call(service: string, method: string, request: Message, headers: Record<string, string> = {}): Promise<Message> {
    const { path, requestSerialize, responseDeserialize } = this.#method(service, method);
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    const { promise, resolve, reject } = Promise.withResolvers<Message>();
    const deadline = Date.now() + 30_000;
    this.#client.makeUnaryRequest<object, object>(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      { deadline },
      (error, answer) => (error === null ? resolve(answer as Message) : reject(error)),
    );
    return promise;
  }

  /** A call with streams both ways: sends all requests, then says so if asked to, gathers all answers, for a minute at most. */
  async exchange(
    service: string,
    method: string,
    requests: readonly Message[],
    { end = false } = {},
  ): Promise<readonly Message[]> {
    const { path, requestSerialize, responseDeserialize } = this.#method(service, method);
    const deadline = Date.now() + 60_000;
    const stream = this.#client.makeBidiStreamRequest<object, object>(path, requestSerialize, responseDeserialize, {
      deadline,
    });
    for (const request of requests) stream.write(request);
    if (end) stream.end();
    const answers: Message[] = [];
    for await (const answer of stream) answers.push(answer as Message);
    return answers;
  }

  /** A call with streams both ways: sends these requests, leaves its side open, gives answers as they come. */
  async *converse(
    service: string,
    method: string,
    requests: readonly Message[],
    signal?: AbortSignal,
  ): AsyncGenerator<Message> {
    const { path, requestSerialize, responseDeserialize } = this.#method(service, method);
    const stream = this.#client.makeBidiStreamRequest<object, object>(path, requestSerialize, responseDeserialize);
    for (const request of requests) stream.write(request);
    yield* answersOf(stream, signal);
  }

  /** A call with a stream of answers, until it ends or `signal` does. */
  async *stream(service: string, method: string, request: Message, signal?: AbortSignal): AsyncGenerator<Message> {
    const { path, requestSerialize, responseDeserialize } = this.#method(service, method);
    const stream = this.#client.makeServerStreamRequest<object, object>(
      path,
      requestSerialize,
      responseDeserialize,
      request,
    );
    yield* answersOf(stream, signal);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  #method(service: string, method: string): MethodDefinition<object, object> {
    const name = service.includes('.') ? service : `flotilla.v1.${service}`;
    contracts ??= readContracts();
    const definition = contracts[name] as ServiceDefinition | undefined;
    const found = definition?.[method];
    if (found === undefined) throw new Error(`the contracts have no ${service}.${method}`);
    return found;
  }
}

interface Answers extends AsyncIterable<unknown> {
  cancel(): void;
}

async function* answersOf(stream: Answers, signal: AbortSignal | undefined): AsyncGenerator<Message> {
  const cancel = () => stream.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  if (signal?.aborted) cancel();
  try {
    for await (const answer of stream) yield answer as Message;
  } finally {
    signal?.removeEventListener('abort', cancel);
    stream.cancel();
  }
}
