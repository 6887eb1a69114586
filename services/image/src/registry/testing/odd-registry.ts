import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { sha256Digest } from '@flotilla/oci';
import { mediaTypes } from '@flotilla/oci/image';

/** Answers a request in its own way; `serve` answers it as a registry should. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse, serve: () => void) => void;

interface Stored {
  readonly type: string;
  readonly body: Buffer;
}

/** A registry that holds images in memory and misbehaves as a test wants. */
export class OddRegistry implements AsyncDisposable {
  /** What was asked, with the headers that matter. */
  readonly asked: {
    readonly path: string;
    readonly range: string | undefined;
    readonly authorization: string | undefined;
  }[] = [];
  /** Whether it knows ranges. */
  ranges = true;
  readonly #server: Server;
  readonly #stored = new Map<string, Stored>();
  #behaviours: { readonly path: RegExp; readonly behaviour: Behaviour; left: number }[] = [];

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<OddRegistry> {
    const registry = new OddRegistry();
    registry.#server.listen(0, '127.0.0.1');
    await once(registry.#server, 'listening');
    return registry;
  }

  get host(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  }

  /** Answers the next requests for such paths so; all of them when `times` is absent. */
  when(path: RegExp, behaviour: Behaviour, times = Number.POSITIVE_INFINITY): void {
    this.#behaviours.push({ path, behaviour, left: times });
  }

  /** As a registry should again, and forgets who asked. */
  reset(): void {
    this.#behaviours = [];
    this.asked.length = 0;
    this.ranges = true;
  }

  putBlob(body: Buffer): { readonly digest: string; readonly size: number } {
    const digest = sha256Digest(body);
    this.#stored.set(`blobs/${digest}`, { type: 'application/octet-stream', body });
    return { digest, size: body.length };
  }

  /** Under its digest, and a tag if there is one. */
  putManifest(document: object | Buffer, type: string = mediaTypes.ociManifest, tag?: string) {
    const body = document instanceof Buffer ? document : Buffer.from(JSON.stringify(document));
    const digest = sha256Digest(body);
    this.#stored.set(`manifests/${digest}`, { type, body });
    if (tag !== undefined) this.#stored.set(`manifests/${tag}`, { type, body });
    return { mediaType: type, digest, size: body.length };
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '';
    const { range, authorization } = request.headers;
    this.asked.push({ path, range, authorization });
    const found = this.#behaviours.find((one) => one.left > 0 && one.path.test(path));
    const serve = () => this.#serve(request, response);
    if (found === undefined) serve();
    else {
      found.left--;
      found.behaviour(request, response, serve);
    }
  }

  #serve({ url = '', headers }: IncomingMessage, response: ServerResponse): void {
    const stored = this.#stored.get(/^\/v2\/odd\/image\/(.*)$/.exec(url)?.[1] ?? '');
    if (stored === undefined) {
      response.writeHead(404, { 'content-type': 'application/json' });
      response.end('{"errors":[{"code":"NAME_UNKNOWN","message":"there is none"}]}');
      return;
    }
    const { type, body } = stored;
    const start = this.ranges ? Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0) : 0;
    response.writeHead(start > 0 ? 206 : 200, {
      'content-type': type,
      'content-length': body.length - start,
      ...(start > 0 ? { 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` } : {}),
    });
    response.end(body.subarray(start));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
