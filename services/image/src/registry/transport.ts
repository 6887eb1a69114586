import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { pipeline } from 'node:stream/promises';
import { createSecureContext } from 'node:tls';
import { FlotillaError } from '@flotilla/errors';
import { isLoopback } from './insecure-hosts.ts';
import { TransientError, unavailable, untrusted } from './registry-error.ts';
import type { RegistrySettings } from './settings.ts';
import { readHostCertificates, systemAuthorities } from './trust.ts';

/** A body that is read as it is sent, and anew when it must be sent again. */
export interface BodySource {
  readonly sizeBytes: number;
  readonly open: () => AsyncIterable<Uint8Array>;
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | BodySource;
  /** So many times as long as others it may take to answer. */
  readonly patience?: number;
  readonly signal: AbortSignal;
}

/**
 * Connections of one pull or push: kept open between requests, each with the certificates and the proxy that its host needs. Follows
 * nothing, repeats nothing.
 */
export class Transport implements Disposable {
  readonly #agents = new Map<string, HttpAgent>();
  readonly #settings: RegistrySettings;
  readonly #registryHost: string;
  #users = 1;

  constructor(settings: RegistrySettings, registryHost: string) {
    this.#settings = settings;
    this.#registryHost = registryHost;
  }

  /** The answer's head; its body is to be read or destroyed. TransientError, REGISTRY_UNTRUSTED, and what a body throws. */
  async send({ method, url, headers, body, patience = 1, signal }: HttpRequest): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, {
      method,
      agent: this.#agentFor(url),
      headers: {
        'user-agent': 'flotilla',
        'accept-encoding': 'identity',
        ...(method === 'GET' || method === 'HEAD' ? {} : { 'content-length': String(lengthOf(body)) }),
        ...headers,
      },
      signal,
    });
    const stallMs = this.#settings.stallMs * patience;
    const stalled = () => new Error(`no byte came for ${stallMs} ms`);
    // A name that is looked up, a proxy that is asked, a connection that is made: no socket that could tell that it waits.
    const headTimer = setTimeout(() => request.destroy(stalled()), stallMs);
    request.once('response', (answer) => {
      request.setTimeout(stallMs, () => answer.destroy(stalled()));
      resolve(answer);
    });
    // Later ones are the answer's, which whoever reads it hears.
    request.on('error', reject);
    if (typeof body === 'object' && 'open' in body)
      sendBody(request, body, { reject, onProgress: () => headTimer.refresh() });
    else request.end(body);
    try {
      return await promise;
    } catch (error) {
      signal.throwIfAborted();
      throw connectionError(url.host, error);
    } finally {
      clearTimeout(headTimer);
    }
  }

  /** Keeps the connections while a download goes on that others wait for, too. */
  retain(): Disposable {
    this.#users++;
    return { [Symbol.dispose]: () => this[Symbol.dispose]() };
  }

  [Symbol.dispose](): void {
    if (--this.#users > 0) return;
    for (const agent of this.#agents.values()) agent.destroy();
    this.#agents.clear();
  }

  #agentFor(url: URL): HttpAgent {
    const known = this.#agents.get(url.origin);
    if (known !== undefined) return known;
    const { proxyEnv, stallMs } = this.#settings;
    // A proxy is of no use for this host itself, and Docker never asks one.
    const options = { keepAlive: true, timeout: stallMs, ...(isLoopback(url.hostname) ? {} : { proxyEnv }) };
    const agent =
      url.protocol === 'https:' ? new HttpsAgent({ ...options, ...this.#tls(url) }) : new HttpAgent(options);
    this.#agents.set(url.origin, agent);
    return agent;
  }

  #tls(url: URL) {
    const { insecure, certificateFolders } = this.#settings;
    const { ca, ...own } = readHostCertificates(certificateFolders, url.host);
    // A host whose authority was given is held to it, also where none is needed.
    if (insecure.has(url.host) && ca.length === 0) return { rejectUnauthorized: false, ...own };
    // Storage that a registry sends us to is trusted as the registry is, but our own certificate is not for it.
    const registrys =
      url.host === this.#registryHost ? [] : readHostCertificates(certificateFolders, this.#registryHost).ca;
    try {
      return { secureContext: createSecureContext({ ca: [...systemAuthorities(), ...ca, ...registrys], ...own }) };
    } catch (cause) {
      throw new FlotillaError(
        'failed_precondition',
        `a certificate for ${url.host} is not valid: ${(cause as Error).message}`,
        {
          reason: 'INVALID_FILE',
          metadata: { host: url.host },
          cause,
        },
      );
    }
  }
}

function lengthOf(body: HttpRequest['body']): number {
  if (body === undefined) return 0;
  if (typeof body === 'string') return Buffer.byteLength(body);
  return 'open' in body ? body.sizeBytes : body.length;
}

/** Sends a body as fast as it is taken, and no more of it once it is answered. */
function sendBody(
  request: ClientRequest,
  body: BodySource,
  { reject, onProgress }: { readonly reject: (error: unknown) => void; readonly onProgress: () => void },
): void {
  const answered = new AbortController();
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of body.open()) {
        onProgress();
        yield chunk;
      }
      onProgress();
    } catch (error) {
      // What reading it says, not what then becomes of the connection.
      reject(error);
      throw error;
    }
  }
  request.once('response', (answer) => answer.once('close', () => answered.abort()));
  pipeline(chunks, request, { signal: answered.signal }).catch(() => {});
}

/** What a connection that failed, or broke, means. */
export function connectionError(host: string, error: unknown): Error {
  if (error instanceof FlotillaError || error instanceof TransientError) return error;
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (certificateProblems.test(code)) return untrusted(host, message.split(';', 1)[0] ?? '', error);
  const problem = code === 'ECONNRESET' ? 'closed the connection' : `cannot be reached (${message || code})`;
  return new TransientError(unavailable(host, problem, error));
}

/** Whether it failed because the host's name means nothing here (getaddrinfo(3)). */
export function isNameUnknown(error: unknown): boolean {
  const { code = '' } = ((error as Error | undefined)?.cause ?? {}) as NodeJS.ErrnoException;
  return code === 'ENOTFOUND' || code === 'EAI_AGAIN';
}

/** X509_verify_cert_error_string(3) and Node's own. */
const certificateProblems =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(GET_ISSUER|VERIFY_LEAF|DECRYPT)|CRL_|ERR_TLS_CERT_|INVALID_(CA|PURPOSE)|HOSTNAME_MISMATCH)/;
