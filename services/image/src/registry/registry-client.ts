import type { IncomingMessage } from 'node:http';
import { isDigest, type Reference, sha256Digest } from '@flotilla/oci';
import { type Descriptor, mediaTypes } from '@flotilla/oci/image';
import { Authorizer, anonymous, type Credentials } from './authorizer.ts';
import { type HttpAnswer, readBody, sendFollowing } from './http-answer.ts';
import { Patience } from './patience.ts';
import { findOrigin, RegistryEndpoint, registryHost, type Send } from './registry-endpoint.ts';
import { answerInvalid, contentMismatch, sizeMismatch } from './registry-error.ts';
import type { RegistrySettings } from './settings.ts';
import { type HttpRequest, Transport } from './transport.ts';

/** A document of the manifests' kind, as it came. */
export interface FetchedDocument {
  readonly bytes: Buffer;
  readonly digest: string;
  /** As the registry calls it, without parameters. */
  readonly mediaType: string;
}

/** Bytes of a manifest or an index (distribution-spec: registries need not take more). */
const largestManifest = 4 << 20;
const acceptManifests = [
  mediaTypes.ociIndex,
  mediaTypes.dockerManifestList,
  mediaTypes.ociManifest,
  mediaTypes.dockerManifest,
].join(', ');

export interface RegistryClientOptions {
  readonly reference: Reference;
  readonly credentials: Credentials;
  readonly settings: RegistrySettings;
}

/** Reads from one repository: at its mirrors first, then at the registry itself (OCI distribution-spec 1.1, Docker's v2). */
export class RegistryClient implements Disposable {
  readonly #options: RegistryClientOptions;
  readonly #host: string;
  readonly #transport: Transport;
  #endpoints: Promise<readonly RegistryEndpoint[]> | undefined;
  /** Whether anybody has answered yet, whatever it was. */
  #answered = false;

  constructor(options: RegistryClientOptions) {
    this.#options = options;
    const { domain } = options.reference;
    this.#host = registryHost(domain);
    this.#transport = new Transport(options.settings, this.#host);
  }

  /**
   * A manifest or index, by tag or digest. MANIFEST_UNKNOWN, DIGEST_MISMATCH, REGISTRY_UNAUTHORIZED, REGISTRY_DENIED,
   * REGISTRY_RATE_LIMITED, REGISTRY_UNAVAILABLE, REGISTRY_UNTRUSTED, REGISTRY_ANSWER_INVALID.
   */
  async getManifest(tagOrDigest: string, signal: AbortSignal): Promise<FetchedDocument> {
    const patience = new Patience(this.#options.settings, () => this.#answered);
    for (;;) {
      try {
        const headers = { accept: acceptManifests };
        const path = `manifests/${tagOrDigest}`;
        const answer = await this.#get({ path, what: `manifest ${tagOrDigest}`, headers, signal });
        const bytes = await readBody(answer, largestManifest, `manifest ${tagOrDigest}`);
        return checkManifest(answer, bytes, tagOrDigest);
      } catch (error) {
        await patience.pause(error, signal);
      }
    }
  }

  /**
   * A blob from a byte on; one try. The second is the byte that the answer really begins with, which is 0 where the registry
   * knows no ranges. BLOB_UNKNOWN, BLOB_SIZE_MISMATCH, and as `getManifest`; TransientError for what may be tried again.
   */
  async openBlob(
    { digest, size }: Descriptor,
    offset: number,
    signal: AbortSignal,
  ): Promise<[IncomingMessage, number]> {
    const headers: Record<string, string> = offset === 0 ? {} : { range: `bytes=${offset}-` };
    const answer = await this.#get({ path: `blobs/${digest}`, what: `blob ${digest}`, headers, signal });
    const { response, url, status } = answer;
    try {
      const start = status === 206 ? rangeStart(answer, offset, size) : 0;
      const encoding = response.headers['content-encoding'] ?? 'identity';
      if (encoding !== 'identity')
        throw answerInvalid(url.host, `sends a blob with the encoding ${encoding.slice(0, 60)}`);
      const length = response.headers['content-length'];
      if (length !== undefined && Number(length) !== size - start)
        throw sizeMismatch(digest, size, String(start + Number(length)));
      return [response, start];
    } catch (error) {
      response.destroy();
      throw error;
    }
  }

  /** Where the blob would come from, in errors. */
  get host(): string {
    return this.#host;
  }

  /** Keeps the connections beyond the end of the pull. */
  retain(): Disposable {
    return this.#transport.retain();
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  /** Asks one place after the other; what the last one says counts. */
  async #get(request: GetRequest): Promise<HttpAnswer> {
    const { signal } = request;
    this.#endpoints ??= this.#findEndpoints(signal);
    const endpoints = await this.#endpoints.catch((error: unknown) => {
      this.#endpoints = undefined;
      throw error;
    });
    for (const endpoint of endpoints.slice(0, -1)) {
      try {
        return await this.#getFrom(endpoint, request);
      } catch {
        signal.throwIfAborted();
      }
    }
    return await this.#getFrom(endpoints.at(-1)!, request);
  }

  async #getFrom(endpoint: RegistryEndpoint, { path, what, headers, signal }: GetRequest): Promise<HttpAnswer> {
    const url = new URL(`${endpoint.origin}/v2/${this.#options.reference.path}/${path}`);
    const expected = headers.range === undefined ? [200] : [200, 206];
    return await endpoint.ask({ method: 'GET', url, what, headers, expected, signal });
  }

  async #send(request: Omit<HttpRequest, 'signal'>, signal: AbortSignal): Promise<HttpAnswer> {
    const mayBePlain = (host: string) => this.#options.settings.insecure.has(host);
    const answer = await sendFollowing(this.#transport, { ...request, signal }, mayBePlain);
    this.#answered = true;
    return answer;
  }

  async #findEndpoints(signal: AbortSignal): Promise<readonly RegistryEndpoint[]> {
    const { settings, reference, credentials } = this.#options;
    const mirrors = settings.mirrors.filter(({ domain }) => domain === reference.domain);
    const send: Send = (request, abort) => this.#send(request, abort);
    const endpoint = (origin: string, who: Credentials) => {
      const authorizer = new Authorizer({
        host: new URL(origin).host,
        credentials: who,
        scope: `repository:${reference.path}:pull`,
        send,
        mayBePlain: (host) => settings.insecure.has(host),
      });
      return new RegistryEndpoint({ origin, authorizer, send });
    };
    // A password is for the registry that it was given for.
    return [
      ...mirrors.map(({ origin }) => endpoint(origin, anonymous)),
      endpoint(await findOrigin(this.#host, settings, send, signal), credentials),
    ];
  }
}

interface GetRequest {
  readonly path: string;
  readonly what: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

function checkManifest({ response, url }: HttpAnswer, bytes: Buffer, tagOrDigest: string): FetchedDocument {
  const digest = sha256Digest(bytes);
  const announced = response.headers['docker-content-digest'];
  const expected = isDigest(tagOrDigest) ? tagOrDigest : announced;
  if (typeof expected === 'string' && isDigest(expected) && expected !== digest) {
    throw contentMismatch(`manifest ${tagOrDigest}`, expected, digest);
  }
  const mediaType = (response.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
  if (mediaType === 'text/html') throw answerInvalid(url.host, `sends an HTML page as manifest ${tagOrDigest}`);
  return { bytes, digest, mediaType };
}

/** `bytes 10-99/100` (RFC 9110, 14.4). */
function rangeStart({ response, url }: HttpAnswer, offset: number, size: number): number {
  const text = response.headers['content-range'] ?? '';
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(text);
  if (match === null || Number(match[1]) !== offset || (match[3] !== '*' && Number(match[3]) !== size)) {
    throw answerInvalid(
      url.host,
      `sends ${JSON.stringify(text.slice(0, 100))} when asked for bytes ${offset}- of ${size}`,
    );
  }
  return offset;
}
