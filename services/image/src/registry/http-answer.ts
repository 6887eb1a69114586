import type { IncomingMessage } from 'node:http';
import { answerInvalid } from './registry-error.ts';
import { connectionError, type HttpRequest, type Transport } from './transport.ts';

/** An answer, and where it came from after redirects. */
export interface HttpAnswer {
  readonly response: IncomingMessage;
  readonly url: URL;
  readonly status: number;
}

const mostRedirects = 5;
const redirects = new Set([301, 302, 303, 307, 308]);
/** Those after which what was sent is sent again (RFC 9110, 15.4); the others would make a GET of it. */
const repeating = new Set([307, 308]);

/**
 * Asks, and goes where it is sent. What proves who we are goes to the host that it is for, and never over a connection that
 * became plain on the way. REGISTRY_ANSWER_INVALID for redirects without an end or to nowhere.
 */
export async function sendFollowing(
  transport: Transport,
  request: HttpRequest,
  mayBePlain: (host: string) => boolean,
): Promise<HttpAnswer> {
  let { url, headers } = request;
  for (let hops = 0; ; hops++) {
    const response = await transport.send({ ...request, url, headers });
    const status = response.statusCode ?? 0;
    const { location } = response.headers;
    const follows = request.method === 'GET' || request.method === 'HEAD' ? redirects : repeating;
    if (!follows.has(status) || location === undefined) return { response, url, status };
    response.destroy();
    if (hops === mostRedirects) throw answerInvalid(request.url.host, `redirects more than ${mostRedirects} times`);
    const next = placeToGo(location, url, mayBePlain);
    if (next === undefined) {
      throw answerInvalid(
        request.url.host,
        `redirects to ${JSON.stringify(location.slice(0, 200))}, which is no place to go`,
      );
    }
    if (next.origin !== url.origin) headers = withoutSecrets(headers);
    url = next;
  }
}

/** Where a server sends us, if it is a place to go: never over a connection that becomes plain. */
export function placeToGo(location: string, from: URL, mayBePlain: (host: string) => boolean): URL | undefined {
  const next = URL.canParse(location, from) ? new URL(location, from) : undefined;
  if (next?.protocol === 'https:') return next;
  return next?.protocol === 'http:' && (from.protocol === 'http:' || mayBePlain(next.host)) ? next : undefined;
}

function withoutSecrets(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'));
}

/** The whole body, which may have only so many bytes. REGISTRY_ANSWER_INVALID, TransientError. */
export async function readBody({ response, url }: HttpAnswer, most: number, what: string): Promise<Buffer> {
  const tooLong = () => answerInvalid(url.host, `sends more than ${most} bytes as ${what}`);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    if (Number(response.headers['content-length'] ?? 0) > most) throw tooLong();
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > most) throw tooLong();
      chunks.push(chunk);
    }
  } catch (error) {
    throw connectionError(url.host, error);
  } finally {
    response.destroy();
  }
  return Buffer.concat(chunks);
}

/** What a registry says about an error (distribution-spec, Error Codes), one line; empty when it is nothing of that kind. */
export async function readErrorWords(answer: HttpAnswer): Promise<string> {
  let text: string;
  try {
    text = (await readBody(answer, 64 << 10, 'an error')).toString();
  } catch {
    return '';
  }
  try {
    const { errors = [], details } = JSON.parse(text) as {
      errors?: { code?: unknown; message?: unknown }[];
      details?: unknown;
    };
    const words = errors.map(({ code, message }) => [code, message].filter((one) => typeof one === 'string').join(' '));
    if (typeof details === 'string') words.push(details);
    return words
      .join('; ')
      .replace(/[\p{C}\s]+/gu, ' ')
      .slice(0, 300);
  } catch {
    return '';
  }
}
