import { FlotillaError } from '@flotilla/errors';
import { isDigest, type Reference } from '@flotilla/oci';
import type { Descriptor } from '@flotilla/oci/image';
import { Authorizer, type Credentials } from './authorizer.ts';
import { type HttpAnswer, placeToGo, readBody, sendFollowing } from './http-answer.ts';
import { Patience } from './patience.ts';
import { findOrigin, RegistryEndpoint, registryHost, type Send } from './registry-endpoint.ts';
import {
  answerInvalid,
  contentMismatch,
  type RefusedAnswer,
  refusedByStatus,
  TransientError,
  unavailable,
} from './registry-error.ts';
import type { RegistrySettings } from './settings.ts';
import { type BodySource, type HttpRequest, Transport } from './transport.ts';

export interface RegistryWriterOptions {
  readonly reference: Reference;
  readonly credentials: Credentials;
  readonly settings: RegistrySettings;
  /** Repositories of the registry from which blobs may be taken. */
  readonly sources: readonly string[];
}

/** An upload that a registry has begun: where the next bytes go, and how many it has. */
export interface UploadPlace {
  readonly url: URL;
  readonly offset: number;
}

/** What is asked of a repository; the address is made of it. */
type WriterRequest = Omit<HttpRequest, 'url' | 'headers' | 'signal'> & {
  readonly url: URL;
  readonly what: string;
  readonly expected: readonly number[];
  readonly headers?: Readonly<Record<string, string>>;
  /** The upload may be lost, which asking for it tells. */
  readonly mayBeLost?: boolean;
};

/** What a registry says once all has come may take a while: it may move and hash what it got. */
const finishPatience = 3;
const cancelMs = 3_000;

/**
 * Writes to one repository of a registry, never to a mirror (OCI distribution-spec 1.1, Push; Docker's v2). Each method is one
 * try: TransientError for what may be tried again, otherwise REGISTRY_UNAUTHORIZED, REGISTRY_DENIED, REGISTRY_UNTRUSTED,
 * REGISTRY_REFUSED, REGISTRY_ANSWER_INVALID, DIGEST_MISMATCH.
 */
export class RegistryWriter implements Disposable {
  readonly #options: RegistryWriterOptions;
  readonly #host: string;
  readonly #transport: Transport;
  #endpoint: Promise<RegistryEndpoint> | undefined;
  #answered = false;

  constructor(options: RegistryWriterOptions) {
    this.#options = options;
    this.#host = registryHost(options.reference.domain);
    this.#transport = new Transport(options.settings, this.#host);
  }

  /** In errors. */
  get host(): string {
    return this.#host;
  }

  /** For one thing that is tried until it works. */
  patience(): Patience {
    return new Patience(this.#options.settings, () => this.#answered);
  }

  /** Whether the repository has a blob. One of another size is none: sending it again shows which is right. */
  async hasBlob({ digest, size }: Descriptor, signal: AbortSignal): Promise<boolean> {
    const url = await this.#url(`blobs/${digest}`, signal);
    // Some registries have no HEAD for those who may only write.
    const answer = await this.#ask({ method: 'HEAD', url, what: `blob ${digest}`, expected: [200, 404, 405] }, signal);
    answer.response.resume();
    if (answer.status !== 200) return false;
    checkDigest(answer, `blob ${digest}`, digest);
    const length = answer.response.headers['content-length'];
    return length === undefined || Number(length) === size;
  }

  /** Begins an upload, or takes the blob from another repository of the registry; undefined when that has been done. */
  async startUpload(digest: string, from: string | undefined, signal: AbortSignal): Promise<UploadPlace | undefined> {
    const url = await this.#url('blobs/uploads/', signal);
    const what = `upload of blob ${digest}`;
    if (from !== undefined) {
      url.searchParams.set('mount', digest);
      url.searchParams.set('from', from);
    }
    const answer = await this.#ask(
      { method: 'POST', url, what, expected: from === undefined ? [202] : [201, 202] },
      signal,
    );
    await readRest(answer);
    if (answer.status === 202) return { url: this.#placeOf(answer, what), offset: 0 };
    checkDigest(answer, `blob ${digest}`, digest);
    return undefined;
  }

  /** Sends what comes next of a blob, to its end. */
  async sendRest(place: UploadPlace, digest: string, rest: BodySource, signal: AbortSignal): Promise<UploadPlace> {
    const what = `upload of blob ${digest}`;
    const end = place.offset + rest.sizeBytes;
    const headers = {
      'content-type': 'application/octet-stream',
      // Docker never sends one with a first part, and not every registry expects what Docker does not send.
      ...(place.offset === 0 ? {} : { 'content-range': `${place.offset}-${end - 1}` }),
    };
    const request = { method: 'PATCH' as const, url: place.url, what, expected: [202], headers, body: rest };
    const answer = await this.#ask({ ...request, patience: finishPatience, mayBeLost: true }, signal);
    await readRest(answer);
    const { range } = answer.response.headers;
    if (range !== undefined && rangeEnd(range) !== end) {
      throw new TransientError(unavailable(this.#host, `has taken ${range} of ${end} bytes of blob ${digest}`));
    }
    return { url: this.#placeOf(answer, what), offset: end };
  }

  /** Ends an upload, with all of the blob where nothing was sent yet. */
  async finishUpload(
    place: UploadPlace,
    digest: string,
    body: BodySource | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const url = new URL(place.url);
    // What the registry put there stays as it is: it may be signed.
    url.search += `${url.search === '' ? '?' : '&'}digest=${encodeURIComponent(digest)}`;
    const answer = await this.#ask(
      {
        method: 'PUT',
        url,
        what: `upload of blob ${digest}`,
        expected: [200, 201, 204],
        headers: { 'content-type': 'application/octet-stream' },
        ...(body === undefined ? {} : { body }),
        patience: finishPatience,
        mayBeLost: true,
      },
      signal,
    );
    await readRest(answer);
    checkDigest(answer, `blob ${digest}`, digest);
  }

  /** How far an upload that broke off has come; undefined when it cannot go on. */
  async resumeUpload(
    { url }: UploadPlace,
    { digest, size }: Descriptor,
    signal: AbortSignal,
  ): Promise<UploadPlace | undefined> {
    const what = `upload of blob ${digest}`;
    const expected = [200, 202, 204, 400, 404, 405, 416];
    const answer = await this.#ask({ method: 'GET', url, what, expected }, signal);
    await readRest(answer);
    const { range = '', location } = answer.response.headers;
    const offset = rangeEnd(range);
    // `0-0` may be one byte or, as Docker's registry has it, none.
    if (answer.status >= 400 || offset === undefined || offset <= 1 || offset > size) return undefined;
    return { url: location === undefined ? url : this.#placeOf(answer, what), offset };
  }

  /** Tells the registry that no more will come; nobody waits for that. */
  cancelUpload({ url }: UploadPlace): void {
    const connections = this.#transport.retain();
    this.#ask({ method: 'DELETE', url, what: 'upload', expected: [200, 202, 204] }, AbortSignal.timeout(cancelMs))
      .then(readRest)
      // It will find out by itself.
      .catch(() => {})
      .finally(() => connections[Symbol.dispose]());
  }

  /** Puts a manifest under a tag. */
  async putManifest(
    tag: string,
    { bytes, mediaType, digest }: { readonly bytes: Buffer; readonly mediaType: string; readonly digest: string },
    signal: AbortSignal,
  ): Promise<void> {
    const url = await this.#url(`manifests/${tag}`, signal);
    const headers = { 'content-type': mediaType };
    const request = {
      method: 'PUT' as const,
      url,
      what: `manifest ${tag}`,
      expected: [200, 201, 202],
      headers,
      body: bytes,
    };
    const answer = await this.#ask({ ...request, patience: finishPatience }, signal);
    await readRest(answer);
    checkDigest(answer, `manifest ${tag}`, digest);
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  /** Where the next bytes go. A registry behind a proxy may not know that it is spoken to by TLS. */
  #placeOf({ response, url }: HttpAnswer, what: string): URL {
    const { location } = response.headers;
    if (location === undefined) throw answerInvalid(this.#host, `does not say where the ${what} goes`);
    const named = URL.canParse(location, url) ? new URL(location, url) : undefined;
    if (named?.protocol === 'http:' && named.host === url.host) named.protocol = url.protocol;
    const place = named && placeToGo(named.href, url, (host) => this.#options.settings.insecure.has(host));
    if (place === undefined) {
      const shown = JSON.stringify(location.slice(0, 200));
      throw answerInvalid(this.#host, `sends the ${what} to ${shown}, which is no place to go`);
    }
    return place;
  }

  async #url(path: string, signal: AbortSignal): Promise<URL> {
    const { origin } = await this.#open(signal);
    return new URL(`${origin}/v2/${this.#options.reference.path}/${path}`);
  }

  async #ask(request: WriterRequest, signal: AbortSignal): Promise<HttpAnswer> {
    const { mayBeLost = false, ...rest } = request;
    const endpoint = await this.#open(signal);
    return await endpoint.ask({
      headers: {},
      ...rest,
      refusal,
      signal,
      ...(mayBeLost ? { transient: [404, 416] } : {}),
    });
  }

  async #open(signal: AbortSignal): Promise<RegistryEndpoint> {
    this.#endpoint ??= this.#findEndpoint(signal);
    return await this.#endpoint.catch((error: unknown) => {
      this.#endpoint = undefined;
      throw error;
    });
  }

  async #findEndpoint(signal: AbortSignal): Promise<RegistryEndpoint> {
    const { settings, reference, credentials, sources } = this.#options;
    const mayBePlain = (host: string) => settings.insecure.has(host);
    const send: Send = async (request, abort) => {
      const answer = await sendFollowing(this.#transport, { ...request, signal: abort }, mayBePlain);
      this.#answered = true;
      return answer;
    };
    const origin = await findOrigin(this.#host, settings, send, signal);
    const scope = `repository:${reference.path}:pull,push`;
    const needs = [scope, ...sources.map((path) => `repository:${path}:pull`)];
    const authorizer = new Authorizer({ host: new URL(origin).host, credentials, scope, needs, send, mayBePlain });
    return new RegistryEndpoint({ origin, authorizer, send });
  }
}

/** What registries answer with has no body to speak of, and the connection is used again once it is read. */
async function readRest(answer: HttpAnswer): Promise<void> {
  await readBody(answer, 64 << 10, 'an answer');
}

/** Bytes that a registry has: `0-99`, and as some write it `bytes=0-99`. */
function rangeEnd(range: string): number | undefined {
  const last = /^(?:bytes=)?0-(\d{1,15})$/.exec(range)?.[1];
  return last === undefined ? undefined : Number(last) + 1;
}

function checkDigest({ response }: HttpAnswer, what: string, expected: string): void {
  const announced = response.headers['docker-content-digest'];
  if (typeof announced === 'string' && isDigest(announced) && announced !== expected) {
    throw contentMismatch(what, expected, announced);
  }
}

/** What it has against what it is sent, only it knows. */
function refusal(refused: RefusedAnswer): FlotillaError {
  const { host, what, status, words } = refused;
  if ([401, 403, 429].includes(status) || status < 400 || status >= 500) return refusedByStatus(refused);
  return new FlotillaError(
    'failed_precondition',
    `registry ${host} refuses the ${what} (${status}${words === '' ? '' : `: ${words}`})`,
    { reason: 'REGISTRY_REFUSED', metadata: { host, what, status: String(status), words } },
  );
}
