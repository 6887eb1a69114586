import { setTimeout as sleep } from 'node:timers/promises';
import { GrpcClient } from '../harness/grpc-client.ts';

/** What clients saw that never paused. */
export interface Seen {
  readonly calls: number;
  readonly rounds: number;
  /** Streams that ended with a code that says come back, and were resumed. */
  readonly resumed: number;
  readonly failures: readonly string[];
  /** The longest that one call took. */
  readonly longest: { readonly method: string; readonly ms: number };
}

const unavailable = 14;

/** So many clients that create, start, exec into and remove containers without pause; each call is made once. */
export class Load {
  readonly #socketPath: string;
  readonly #image: string;
  readonly #network: string;
  readonly #clients: Promise<void>[] = [];
  readonly #failures: string[] = [];
  #stopping = false;
  #calls = 0;
  #rounds = 0;
  #resumed = 0;
  #longest = { method: '', ms: 0 };

  constructor(socketPath: string, image: string, network: string) {
    this.#socketPath = socketPath;
    this.#image = image;
    this.#network = network;
  }

  start(clients: number): void {
    for (let i = 0; i < clients; i++) this.#clients.push(this.#work());
  }

  get rounds(): number {
    return this.#rounds;
  }

  async stop(): Promise<Seen> {
    this.#stopping = true;
    await Promise.all(this.#clients);
    return {
      calls: this.#calls,
      rounds: this.#rounds,
      resumed: this.#resumed,
      failures: this.#failures,
      longest: this.#longest,
    };
  }

  async #work(): Promise<void> {
    using client = new GrpcClient(this.#socketPath);
    while (!this.#stopping) {
      try {
        await this.#round(client);
        this.#rounds += 1;
      } catch (error) {
        this.#failures.push((error as Error).message);
        await sleep(100); // a service that is down must not make a busy loop of this
      }
    }
  }

  async #round(client: GrpcClient): Promise<void> {
    const config = { image: this.#image, command: ['sleep', '600'], network_mode: this.#network };
    const call = (service: string, method: string, request: Record<string, unknown>) =>
      this.#timed(method, () => client.call(service, method, request));
    const { container_id: container } = await call('ContainerService', 'CreateContainer', { config });
    await call('ContainerService', 'StartContainer', { container });
    const { exec_id: execId } = await call('ExecService', 'CreateExec', {
      container,
      config: { command: ['sh', '-c', 'exit 7'] },
    });
    const answers = await this.#timed('StartExec', () => this.#exec(client, execId));
    const exitCode = (answers.at(-1)?.exited as { exit_code?: number } | undefined)?.exit_code;
    if (exitCode !== 7) throw new Error(`exec ended with ${exitCode}, not 7: ${JSON.stringify(answers)}`);
    await call('ContainerService', 'RemoveContainer', { container, force: true });
  }

  async #exec(client: GrpcClient, execId: unknown): Promise<readonly Record<string, unknown>[]> {
    for (let resume = false; ; resume = true) {
      try {
        return await client.exchange('ExecService', 'StartExec', [{ start: { exec_id: execId, resume } }]);
      } catch (error) {
        // The one code that says: come back, and go on where you were.
        if ((error as { code?: number }).code !== unavailable) throw error;
        this.#resumed += 1;
      }
    }
  }

  async #timed<T>(method: string, work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    try {
      this.#calls += 1;
      return await work();
    } catch (error) {
      throw new Error(`${method} after ${Math.round(performance.now() - startedAt)} ms: ${(error as Error).message}`);
    } finally {
      const ms = Math.round(performance.now() - startedAt);
      if (ms > this.#longest.ms) this.#longest = { method, ms };
    }
  }
}
