import { status } from '@grpc/grpc-js';
import { demoImage, type Engine } from '../../harness/engine.ts';
import { GrpcClient } from '../../harness/grpc-client.ts';
import { ContainerKilled, type Operations } from './operations.ts';

type Message = Record<string, unknown>;

/** This engine's, over its public gRPC API. */
export class FlotillaOperations implements Operations, Disposable {
  readonly #grpc: GrpcClient;
  /** Streams that ended with the code that says: come back, and go on where you were. No failure, but counted. */
  resumed = 0;

  constructor(engine: Engine) {
    this.#grpc = new GrpcClient(`${engine.folders.run}/api.sock`);
  }

  async create(name: string): Promise<string> {
    const config = { image: demoImage, command: ['sleep', '600'], network_mode: 'bridge' };
    const request = { name, idempotency_key: name, config };
    return String((await this.#grpc.call('ContainerService', 'CreateContainer', request)).container_id);
  }

  async start(container: string): Promise<void> {
    await this.#grpc.call('ContainerService', 'StartContainer', { container });
  }

  async exec(container: string): Promise<void> {
    const config = { command: ['sh', '-c', 'exit 7'] };
    try {
      const { exec_id } = await this.#grpc.call('ExecService', 'CreateExec', { container, config });
      const exited = (await this.#startExec(exec_id)).at(-1)?.exited as { exit_code?: number } | undefined;
      if (exited?.exit_code !== 7) throw new Error(`exec ended with ${exited?.exit_code}, not 7`);
    } catch (error) {
      if ((await this.initPid(container).catch(() => -1)) === 0) throw new ContainerKilled();
      throw error;
    }
  }

  async #startExec(execId: unknown): Promise<readonly Message[]> {
    for (let resume = false; ; resume = true) {
      try {
        return await this.#grpc.exchange('ExecService', 'StartExec', [{ start: { exec_id: execId, resume } }]);
      } catch (error) {
        if ((error as { code?: number }).code !== status.UNAVAILABLE) throw error;
        this.resumed += 1;
      }
    }
  }

  async remove(container: string): Promise<void> {
    try {
      await this.#grpc.call('ContainerService', 'RemoveContainer', { container, force: true });
    } catch (error) {
      if ((error as { code?: number }).code !== status.NOT_FOUND) throw error;
    }
  }

  async initPid(container: string): Promise<number> {
    const answer = await this.#grpc.call('ContainerService', 'GetContainer', { container });
    return (answer.container as { status: { init_pid: number } }).status.init_pid;
  }

  [Symbol.dispose](): void {
    this.#grpc[Symbol.dispose]();
  }
}
