import { z } from 'zod';
import type { Challenge } from './challenge.ts';
import { type HttpAnswer, readBody, readErrorWords } from './http-answer.ts';
import { answerInvalid, TransientError, unauthorized, unavailable } from './registry-error.ts';
import type { HttpRequest } from './transport.ts';

/** Who asks. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** OAuth2 refresh token instead of a password. */
  readonly identityToken: string;
  /** Bearer token as it is. */
  readonly registryToken: string;
}

export const anonymous: Credentials = { username: '', password: '', identityToken: '', registryToken: '' };

export interface AuthorizerOptions {
  /** Of the registry that wants to know. */
  readonly host: string;
  readonly credentials: Credentials;
  /** `repository:library/debian:pull`, when a challenge does not say. */
  readonly scope: string;
  /** Scopes that every token must have, whatever a challenge asks for: a push would be asked for one after the other. */
  readonly needs?: readonly string[];
  readonly send: (request: Omit<HttpRequest, 'signal'>, signal: AbortSignal) => Promise<HttpAnswer>;
  /** Whether a token server may be asked without TLS. */
  readonly mayBePlain: (host: string) => boolean;
}

const tokenSchema = z.object({
  token: z
    .string()
    .max(1 << 16)
    .optional(),
  access_token: z
    .string()
    .max(1 << 16)
    .optional(),
  expires_in: z.number().min(0).max(1e9).nullish(),
});
/** What distribution's token specification says of answers that do not. */
const defaultLifeSeconds = 60;
/** A token that is about to end is not used for a request that may take a while to arrive. */
const marginMs = 5_000;
const clientId = 'flotilla';

/** Proves to one registry who we are, as it asks (distribution, spec/auth: token, oauth; RFC 7617). */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  #header: string | undefined;
  #endsAtMs = Number.POSITIVE_INFINITY;
  #challenge: Challenge | undefined;
  #running: Promise<void> | undefined;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
    const { registryToken } = options.credentials;
    if (registryToken !== '') this.#header = `Bearer ${registryToken}`;
  }

  /** Value of `Authorization` for the next request, if one is known to be needed. */
  async header(signal: AbortSignal): Promise<string | undefined> {
    if (this.#challenge !== undefined && Date.now() > this.#endsAtMs - marginMs) await this.#renew(signal);
    return this.#header;
  }

  /** Answers a 401 to a request that had the header `used`. REGISTRY_UNAUTHORIZED when there is no other answer to give. */
  async answer(challenges: readonly Challenge[], used: string | undefined, signal: AbortSignal): Promise<void> {
    // Another request has fetched a token meanwhile.
    if (used !== this.#header) return;
    const { host, credentials } = this.#options;
    if (credentials.registryToken !== '') throw unauthorized(host, 'does not accept the token');
    const named = (scheme: string) => challenges.find((challenge) => challenge.scheme === scheme);
    const bearer = named('bearer');
    if (bearer !== undefined) {
      this.#challenge = bearer;
      return await this.#renew(signal);
    }
    if (named('basic') === undefined) throw unauthorized(host, 'wants a log-in of a kind that we do not have');
    const header = basic(credentials);
    if (header === undefined) throw unauthorized(host, 'wants a user name and a password');
    if (used === header) throw unauthorized(host, `does not accept the password of ${credentials.username}`);
    this.#header = header;
  }

  /** One token for all requests that need one. */
  async #renew(signal: AbortSignal): Promise<void> {
    for (;;) {
      const mine = this.#running === undefined;
      this.#running ??= this.#fetchToken(signal).finally(() => {
        this.#running = undefined;
      });
      try {
        return await this.#running;
      } catch (error) {
        signal.throwIfAborted();
        // Another one's may have failed because that one was cancelled.
        if (mine) throw error;
      }
    }
  }

  async #fetchToken(signal: AbortSignal): Promise<void> {
    const { host } = this.#options;
    const { realm = '', service, scope: asked = this.#options.scope } = this.#challenge?.parameters ?? {};
    const scope = [...new Set([...(this.#options.needs ?? []), ...asked.split(' ')])].join(' ');
    const url = URL.canParse(realm) ? new URL(realm) : undefined;
    if (url === undefined || !this.#mayAsk(url)) {
      throw answerInvalid(host, `names ${JSON.stringify(realm.slice(0, 200))} as its token server`);
    }
    const answer = await this.#askForToken(url, { ...(service === undefined ? {} : { service }), scope }, signal);
    if (answer.status === 429 || answer.status >= 500) {
      answer.response.destroy();
      throw new TransientError(unavailable(url.host, `, the token server, answers ${answer.status}`));
    }
    if (answer.status !== 200) {
      const words = await readErrorWords(answer);
      throw unauthorized(
        host,
        `refuses the log-in (${url.host} answers ${answer.status}${words === '' ? '' : `: ${words}`})`,
      );
    }
    const { token, lifeSeconds } = parseToken(await readBody(answer, 1 << 20, 'a token'), url.host);
    this.#header = `Bearer ${token}`;
    this.#endsAtMs = Date.now() + lifeSeconds * 1000;
  }

  #mayAsk({ protocol, host }: URL): boolean {
    return protocol === 'https:' || (protocol === 'http:' && this.#options.mayBePlain(host));
  }

  /** GET with basic authorisation, or POST as OAuth2 has it: for refresh tokens, and where nobody answers a GET. */
  async #askForToken(realm: URL, about: Record<string, string>, signal: AbortSignal): Promise<HttpAnswer> {
    const { credentials, send } = this.#options;
    const { username, password, identityToken } = credentials;
    const post = (grant: Record<string, string>) =>
      send(
        {
          method: 'POST',
          url: realm,
          headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
          body: new URLSearchParams({ ...grant, ...about, client_id: clientId }).toString(),
        },
        signal,
      );
    if (identityToken !== '') return await post({ grant_type: 'refresh_token', refresh_token: identityToken });
    const url = new URL(realm);
    for (const [name, value] of Object.entries(about)) {
      // A scope with blanks is several.
      for (const one of name === 'scope' ? value.split(' ') : [value]) url.searchParams.append(name, one);
    }
    const header = basic(credentials);
    if (header !== undefined) url.searchParams.set('account', username);
    const headers = { accept: 'application/json', ...(header === undefined ? {} : { authorization: header }) };
    const answer = await send({ method: 'GET', url, headers }, signal);
    if (header === undefined || ![404, 405].includes(answer.status)) return answer;
    answer.response.destroy();
    return await post({ grant_type: 'password', username, password });
  }
}

function basic({ username, password }: Credentials): string | undefined {
  if (username === '' && password === '') return undefined;
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function parseToken(body: Buffer, host: string): { readonly token: string; readonly lifeSeconds: number } {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch (cause) {
    throw answerInvalid(host, 'sends a token that is not JSON', cause);
  }
  const parsed = tokenSchema.safeParse(value);
  const token = parsed.data?.token || parsed.data?.access_token;
  // It goes into a header as it is.
  if (token === undefined || !/^[\x21-\x7e]+$/.test(token))
    throw answerInvalid(host, 'sends an answer without a token');
  return { token, lifeSeconds: parsed.data?.expires_in ?? defaultLifeSeconds };
}
