import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Passes connections on to a port on loopback, and breaks some of them once so many bytes have gone there. */
export class DroppingProxy implements AsyncDisposable {
  /** How many are still to be broken. */
  left = 0;
  #atBytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(port: number) {
    this.#server = createServer((client) => {
      const upstream = connect(port, '127.0.0.1');
      let bytes = 0;
      client.on('data', (chunk) => {
        bytes += chunk.length;
        if (this.left === 0 || bytes < this.#atBytes) return;
        this.left--;
        client.destroy();
        upstream.destroy();
      });
      client.pipe(upstream).pipe(client);
      for (const socket of [client, upstream]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => this.#sockets.delete(socket));
      }
    });
  }

  static async start(port: number): Promise<DroppingProxy> {
    const proxy = new DroppingProxy(port);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get host(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  }

  /** Breaks the next connections over which so many bytes went. */
  drop(times: number, atBytes: number): void {
    this.left = times;
    this.#atBytes = atBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
