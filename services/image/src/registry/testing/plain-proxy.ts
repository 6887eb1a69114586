import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';

/** An HTTP proxy that knows hosts by names of its own: what a test's registry is called, it finds on loopback. */
export class PlainProxy implements AsyncDisposable {
  /** What it was asked for, `host:port`. */
  readonly asked: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #ports: Readonly<Record<string, number>> = {};

  private constructor() {
    this.#server = createServer();
    this.#server.on('connect', (request, client: Socket) => {
      const target = request.url ?? '';
      this.asked.push(target);
      const port = this.#ports[target];
      if (port === undefined) {
        client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
        return;
      }
      const upstream = connect(port, '127.0.0.1', () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n');
        upstream.pipe(client).pipe(upstream);
      });
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => this.#sockets.delete(socket));
      }
    });
  }

  static async start(): Promise<PlainProxy> {
    const proxy = new PlainProxy();
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  }

  /** Which port on loopback a name means. */
  use(ports: Readonly<Record<string, number>>): void {
    this.#ports = ports;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
