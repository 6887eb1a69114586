import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { text } from 'node:stream/consumers';

export const tokenService = 'registry of this test';
export const tokenIssuer = 'token server of this test';

/** Who may have a token, and how long it lives. */
export interface TokenServerOptions {
  readonly certificate: string;
  readonly key: string;
  readonly username: string;
  readonly password: string;
  readonly refreshToken: string;
}

/** The registry's peer in distribution's token authentication: signs tokens that Debian's registry verifies by itself. */
export class TokenServer implements AsyncDisposable {
  /** `METHOD grant` of each request. */
  readonly asked: string[] = [];
  /** Tokens that are signed live so long, seconds. What is said of them may be more. */
  lifeSeconds = 300;
  saidLifeSeconds = 300;
  readonly #options: TokenServerOptions;
  readonly #server: Server;

  private constructor(options: TokenServerOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      void this.#answer(request).then(([status, body]) => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      });
    });
  }

  static async start(options: TokenServerOptions): Promise<TokenServer> {
    const server = new TokenServer(options);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/token`;
  }

  async #answer(request: IncomingMessage): Promise<[number, object]> {
    const { username, password, refreshToken } = this.#options;
    const url = new URL(request.url ?? '', 'http://localhost');
    const form = new URLSearchParams(await text(request));
    const isPost = request.method === 'POST';
    const given = isPost ? form : url.searchParams;
    this.asked.push(`${request.method} ${isPost ? form.get('grant_type') : ''}`.trim());
    const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    const known = isPost ? form.get('refresh_token') === refreshToken : request.headers.authorization === basic;
    if (!known || given.get('service') !== tokenService) return [401, { details: 'incorrect username or password' }];
    // Several stand one after the other in a form, and each for itself in a query.
    const token = this.#sign(given.getAll('scope').flatMap((scope) => scope.split(' ')));
    const life = { expires_in: this.saidLifeSeconds, issued_at: new Date().toISOString() };
    return [200, isPost ? { access_token: token, ...life } : { token, ...life }];
  }

  /** As docker-registry wants it: RS256, with the certificate in the header (RFC 7515, 4.1.6). */
  #sign(scopes: readonly string[]): string {
    const certificate = new X509Certificate(readFileSync(this.#options.certificate));
    const now = Math.floor(Date.now() / 1000);
    const header = { typ: 'JWT', alg: 'RS256', x5c: [certificate.raw.toString('base64')] };
    const claims = {
      iss: tokenIssuer,
      sub: this.#options.username,
      aud: tokenService,
      exp: now + this.lifeSeconds,
      nbf: now - 10,
      iat: now,
      jti: randomUUID(),
      access: scopes.map((scope) => {
        const [type, name, actions = ''] = scope.split(':');
        return { type, name, actions: actions.split(',') };
      }),
    };
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const signed = `${part(header)}.${part(claims)}`;
    const key = createPrivateKey(readFileSync(this.#options.key));
    return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
