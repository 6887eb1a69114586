import type { IncomingMessage, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { sha256Digest } from '@flotilla/oci';
import type { Behaviour } from './odd-registry.ts';

interface Upload {
  data: Buffer;
}

/** The half of a registry that takes images, as the distribution-spec has it; it keeps what came before a connection broke. */
export class TestUploads {
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, { readonly type: string; readonly body: Buffer }>();
  /** `METHOD what`, with the range of parts. */
  readonly asked: string[] = [];
  /** Bytes of blobs that came. */
  receivedBytes = 0;
  /** Uploads that are under way. */
  readonly uploads = new Map<string, Upload>();
  /** Blobs that may be taken from elsewhere, `repository digest`. */
  readonly mountable = new Map<string, Buffer>();
  /** Whether an upload outlives a connection that breaks. */
  keeps = true;
  /** So many connections break when an upload has come to so many bytes. */
  drops = { times: 0, atBytes: 0 };
  #counter = 0;

  /** Registers itself for `/v2/push/…`. */
  readonly serve: Behaviour = (request, response) => {
    this.#answer(request, response).catch(() => response.destroy());
  };

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '' } = request;
    const url = new URL(request.url ?? '', 'http://registry');
    const [, kind = '', name = ''] =
      /^\/v2\/push\/app\/(blobs\/uploads|blobs|manifests)\/(.*)$/.exec(url.pathname) ?? [];
    const { 'content-range': range } = request.headers;
    this.asked.push(
      `${method} ${kind}${range === undefined ? '' : ` ${range}`}${url.searchParams.has('mount') ? ' mount' : ''}`,
    );
    if (kind === 'blobs' && method === 'HEAD') return this.#head(name, response);
    if (kind === 'manifests' && method === 'PUT') return await this.#putManifest(name, request, response);
    if (kind === 'blobs/uploads' && method === 'POST') return this.#start(url, response);
    const upload = this.uploads.get(name);
    if (kind !== 'blobs/uploads' || upload === undefined) {
      request.resume();
      response.writeHead(404).end('{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"there is none"}]}');
    } else if (method === 'GET') this.#accepted(name, upload, response, 204);
    else if (method === 'DELETE') {
      this.uploads.delete(name);
      response.writeHead(204).end();
    } else if (method === 'PATCH') {
      if (range !== undefined && Number(range.split('-')[0]) !== upload.data.length) response.writeHead(416).end();
      else if (await this.#take(name, upload, request)) this.#accepted(name, upload, response, 202);
    } else if (method === 'PUT')
      await this.#finish(name, upload, url.searchParams.get('digest') ?? '', request, response);
  }

  /** Takes what comes, also of a connection that breaks; says whether all came. */
  async #take(name: string, upload: Upload, request: IncomingMessage): Promise<boolean> {
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) {
        const { times, atBytes } = this.drops;
        const drop = times > 0 && upload.data.length < atBytes && upload.data.length + chunk.length >= atBytes;
        const taken = drop ? chunk.subarray(0, atBytes - upload.data.length) : chunk;
        upload.data = Buffer.concat([upload.data, taken]);
        this.receivedBytes += taken.length;
        if (!drop) continue;
        this.drops = { times: times - 1, atBytes };
        request.socket.destroy();
        throw new Error('dropped');
      }
      return true;
    } catch {
      if (!this.keeps) this.uploads.delete(name);
      return false;
    }
  }

  #head(digest: string, response: ServerResponse): void {
    const body = this.blobs.get(digest);
    if (body === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-length': body.length, 'docker-content-digest': digest }).end();
  }

  #start(url: URL, response: ServerResponse): void {
    const digest = url.searchParams.get('mount') ?? '';
    const mounted = this.mountable.get(`${url.searchParams.get('from')} ${digest}`);
    if (mounted !== undefined) {
      this.blobs.set(digest, mounted);
      response.writeHead(201, { location: `/v2/push/app/blobs/${digest}`, 'docker-content-digest': digest }).end();
      return;
    }
    const name = String(++this.#counter);
    const upload = { data: Buffer.alloc(0) };
    this.uploads.set(name, upload);
    this.#accepted(name, upload, response, 202);
  }

  #accepted(name: string, { data }: Upload, response: ServerResponse, status: number): void {
    // A query that would be another if it were taken apart and put together again.
    const location = `/v2/push/app/blobs/uploads/${name}?_state=a%20b~%2f`;
    response.writeHead(status, { location, range: `0-${Math.max(data.length - 1, 0)}`, 'content-length': 0 }).end();
  }

  async #finish(
    name: string,
    upload: Upload,
    digest: string,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (!(await this.#take(name, upload, request))) return;
    this.uploads.delete(name);
    if (sha256Digest(upload.data) !== digest || !request.url?.includes('_state=a%20b~%2f')) {
      response.writeHead(400).end('{"errors":[{"code":"DIGEST_INVALID","message":"it is another"}]}');
      return;
    }
    this.blobs.set(digest, upload.data);
    response.writeHead(201, { location: `/v2/push/app/blobs/${digest}`, 'docker-content-digest': digest }).end();
  }

  async #putManifest(tag: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const { config, layers } = JSON.parse(body.toString()) as {
      config: { digest: string };
      layers: { digest: string }[];
    };
    const unknown = [config, ...layers].find(({ digest }) => !this.blobs.has(digest));
    if (unknown !== undefined) {
      response.writeHead(404).end('{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"a blob is not there"}]}');
      return;
    }
    this.manifests.set(tag, { type: request.headers['content-type'] ?? '', body });
    response.writeHead(201, { 'docker-content-digest': sha256Digest(body) }).end();
  }
}

/** Does something else with the next requests of a method, and for the rest as `serve`. */
export function instead(method: string, { serve }: TestUploads, behaviour: Behaviour, times = 1): Behaviour {
  let left = times;
  return (request, response, next) => {
    if (request.method !== method || left === 0) return serve(request, response, next);
    left--;
    behaviour(request, response, () => serve(request, response, next));
  };
}
