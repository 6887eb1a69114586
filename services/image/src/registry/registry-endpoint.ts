import type { FlotillaError } from '@flotilla/errors';
import type { Authorizer } from './authorizer.ts';
import { parseRetryAfter } from './backoff.ts';
import { parseChallenges } from './challenge.ts';
import { type HttpAnswer, readErrorWords } from './http-answer.ts';
import { type RefusedAnswer, refusedByStatus, TransientError } from './registry-error.ts';
import type { RegistrySettings } from './settings.ts';
import type { HttpRequest } from './transport.ts';

/** Sends a request and follows it. */
export type Send = (request: Omit<HttpRequest, 'signal'>, signal: AbortSignal) => Promise<HttpAnswer>;

export interface EndpointRequest extends HttpRequest {
  /** What it is about, in errors: `manifest 1`. */
  readonly what: string;
  /** Statuses that are an answer. */
  readonly expected: readonly number[];
  /** Others that may be different a moment later. */
  readonly transient?: readonly number[];
  /** What another status means, if it is not what it means elsewhere. */
  readonly refusal?: (refused: RefusedAnswer) => FlotillaError;
}

const transientStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);

/** A place that speaks the protocol of registries, and who we are there. */
export class RegistryEndpoint {
  readonly origin: string;
  readonly #authorizer: Authorizer;
  readonly #send: Send;

  constructor(parts: { readonly origin: string; readonly authorizer: Authorizer; readonly send: Send }) {
    this.origin = parts.origin;
    this.#authorizer = parts.authorizer;
    this.#send = parts.send;
  }

  /** One try, answering who we are when asked. TransientError for what may be tried again; otherwise as `refusedByStatus`. */
  async ask({
    what,
    expected,
    transient = [],
    refusal = refusedByStatus,
    signal,
    ...request
  }: EndpointRequest): Promise<HttpAnswer> {
    const { url } = request;
    const isOurs = url.origin === this.origin;
    for (let challenged = false; ; challenged = true) {
      // Who we are is for the registry alone, not for another place that it names.
      const authorization = isOurs ? await this.#authorizer.header(signal) : undefined;
      const headers = { ...request.headers, ...(authorization === undefined ? {} : { authorization }) };
      const answer = await this.#send({ ...request, headers }, signal);
      const { status, response } = answer;
      if (expected.includes(status)) return answer;
      if (status === 401 && !challenged && isOurs && answer.url.origin === url.origin) {
        response.destroy();
        const challenges = parseChallenges(response.headersDistinct['www-authenticate'] ?? []);
        await this.#authorizer.answer(challenges, authorization, signal);
        continue;
      }
      const lasting = refusal({ host: url.host, what, status, words: await readErrorWords(answer) });
      if (!transientStatuses.has(status) && !transient.includes(status)) throw lasting;
      throw new TransientError(lasting, parseRetryAfter(response.headers['retry-after'], Date.now()));
    }
  }
}

/** Where registries of docker.io are. */
export function registryHost(domain: string): string {
  return domain === 'docker.io' ? 'registry-1.docker.io' : domain;
}

/** An insecure registry speaks TLS, or else it does not. */
export async function findOrigin(
  host: string,
  settings: RegistrySettings,
  send: Send,
  signal: AbortSignal,
): Promise<string> {
  const secure = `https://${host}`;
  if (!settings.insecure.has(host)) return secure;
  try {
    const { response } = await send({ method: 'GET', url: new URL(`${secure}/v2/`), headers: {} }, signal);
    response.destroy();
    return secure;
  } catch (error) {
    if (!(error instanceof TransientError)) throw error;
    return `http://${host}`;
  }
}
