import { randomUUID } from 'node:crypto';
import { demoImage, type Engine } from '../harness/engine.ts';
import { GrpcClient } from '../harness/grpc-client.ts';

/** This engine, over its public gRPC API. */
export class FlotillaSubject implements Disposable {
  readonly #grpc: GrpcClient;
  readonly #execCommand = ['true'];
  /** Milliseconds of each step of runToExit. */
  readonly steps: Readonly<Record<'create' | 'start' | 'wait' | 'remove', number[]>> = {
    create: [],
    start: [],
    wait: [],
    remove: [],
  };

  constructor(engine: Engine) {
    this.#grpc = new GrpcClient(`${engine.folders.run}/api.sock`);
  }

  [Symbol.dispose](): void {
    this.#grpc[Symbol.dispose]();
  }

  /** Creates and starts a container; its id. */
  async start(networkMode: string, command: readonly string[]): Promise<string> {
    const config = { image: demoImage, command, network_mode: networkMode };
    const request = { config, idempotency_key: randomUUID() };
    const { container_id } = await this.#grpc.call('ContainerService', 'CreateContainer', request);
    await this.#grpc.call('ContainerService', 'StartContainer', { container: container_id });
    return String(container_id);
  }

  /** From nothing to a container that ran `true` and is gone. */
  async runToExit(networkMode: string): Promise<void> {
    const config = { image: demoImage, command: ['true'], network_mode: networkMode };
    const request = { config, idempotency_key: randomUUID() };
    const { container_id: container } = await this.#step('create', 'CreateContainer', request);
    await this.#step('start', 'StartContainer', { container });
    const { exit_code } = await this.#step('wait', 'WaitContainer', { container });
    if (exit_code !== 0) throw new Error(`true ended with ${exit_code}`);
    await this.#step('remove', 'RemoveContainer', { container });
  }

  async #step(name: keyof typeof this.steps, method: string, request: Record<string, unknown>) {
    const startedAt = performance.now();
    const answer = await this.#grpc.call('ContainerService', method, request);
    this.steps[name].push(performance.now() - startedAt);
    return answer;
  }

  /** A further process in a running container, to its exit. */
  async exec(container: string): Promise<void> {
    const request = { container, config: { command: this.#execCommand } };
    const { exec_id } = await this.#grpc.call('ExecService', 'CreateExec', request);
    const answers = await this.#grpc.exchange('ExecService', 'StartExec', [{ start: { exec_id } }]);
    const exited = answers.at(-1)?.exited as { exit_code?: number } | undefined;
    if (exited?.exit_code !== 0) throw new Error(`exec of true: ${JSON.stringify(answers)}`);
  }

  async remove(container: string): Promise<void> {
    await this.#grpc.call('ContainerService', 'RemoveContainer', { container, force: true });
  }

  /** Process id of the shim of a container. */
  async shimPid(container: string): Promise<number> {
    const answer = await this.#grpc.call('ContainerService', 'GetContainer', { container });
    const status = (answer.container as { status: { shim_pid: number } }).status;
    return status.shim_pid;
  }
}
