import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { captain } from '../harness/registry.ts';

export const tokenService = 'registry of the matrix';
export const tokenIssuer = 'token server of the matrix';

/** The registry's peer in distribution's token authentication: signs tokens that Debian's registry verifies by itself. */
export class TokenServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #certificate: string;
  readonly #key: string;

  private constructor(certificate: string, key: string) {
    this.#certificate = new X509Certificate(readFileSync(certificate)).raw.toString('base64');
    this.#key = readFileSync(key, 'utf8');
    this.#server = createServer((request, response) => {
      const token = this.#answer(request);
      response.writeHead(token === undefined ? 401 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(token === undefined ? { details: 'who is that?' } : { token, expires_in: 600 }));
    });
  }

  /** Signs by a key and its certificate, which the registry must know. */
  static async start(certificate: string, key: string): Promise<TokenServer> {
    const server = new TokenServer(certificate, key);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  #answer({ url, headers }: IncomingMessage): string | undefined {
    const { searchParams } = new URL(url ?? '', 'http://localhost');
    const basic = Buffer.from(`${captain.username}:${captain.password}`).toString('base64');
    if (headers.authorization !== `Basic ${basic}` || searchParams.get('service') !== tokenService) return undefined;
    return this.#sign(searchParams.getAll('scope').flatMap((scope) => scope.split(' ')));
  }

  /** As docker-registry wants it: RS256, with the certificate in the header (RFC 7515, 4.1.6). */
  #sign(scopes: readonly string[]): string {
    const now = Math.floor(Date.now() / 1000);
    const header = { typ: 'JWT', alg: 'RS256', x5c: [this.#certificate] };
    const access = scopes.map((scope) => {
      const [type, name, actions = ''] = scope.split(':');
      return { type, name, actions: actions.split(',') };
    });
    const times = { exp: now + 600, nbf: now - 10, iat: now };
    const claims = { iss: tokenIssuer, sub: captain.username, aud: tokenService, jti: randomUUID(), ...times, access };
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const signed = `${part(header)}.${part(claims)}`;
    return `${signed}.${sign('sha256', Buffer.from(signed), createPrivateKey(this.#key)).toString('base64url')}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }
}
