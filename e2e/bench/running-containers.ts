import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GrpcClient } from '../harness/grpc-client.ts';
import type { FlotillaSubject } from './flotilla.ts';

const clients = 4;
/** One in so many is on the bridge. */
const bridgeEvery = 10;

interface Listed {
  readonly container_id: string;
  readonly status: { readonly state: string; readonly init_pid: number; readonly shim_pid: number };
}

/** Many containers that sleep, and what was known of each when it had started. */
export class RunningContainers implements AsyncDisposable {
  readonly #flotilla: FlotillaSubject;
  readonly #grpc: GrpcClient;
  readonly #initPids = new Map<string, number>();

  constructor(flotilla: FlotillaSubject, grpc: GrpcClient) {
    this.#flotilla = flotilla;
    this.#grpc = grpc;
  }

  async start(count: number): Promise<void> {
    let next = 0;
    await inParallel(async () => {
      if (next >= count) return false;
      const network = next++ % bridgeEvery === 0 ? 'bridge' : 'none';
      const id = await this.#flotilla.start(network, ['sleep', '86400']);
      this.#initPids.set(id, 0);
      return true;
    });
    for (const { container_id, status } of listed(await this.#list())) {
      this.#initPids.set(container_id, status.init_pid);
    }
  }

  async shimPids(): Promise<readonly number[]> {
    return listed(await this.#list()).map(({ status }) => status.shim_pid);
  }

  /** Fails unless an answer to ListContainers has every container running, as the same process, which is there. */
  check(answer: Record<string, unknown>): void {
    const found = new Map(listed(answer).map(({ container_id, status }) => [container_id, status]));
    for (const [id, initPid] of this.#initPids) {
      const status = found.get(id);
      const isRight = status?.state === 'CONTAINER_STATE_RUNNING' && status.init_pid === initPid;
      if (!isRight || !existsSync(`/proc/${initPid}`)) {
        throw new Error(`container ${id} was process ${initPid}, now ${JSON.stringify(status)}`);
      }
    }
    if (found.size !== this.#initPids.size) throw new Error(`${found.size} containers, not ${this.#initPids.size}`);
  }

  settle(ms: number): Promise<void> {
    return sleep(ms);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ids = [...this.#initPids.keys()];
    await inParallel(async () => {
      const id = ids.pop();
      if (id === undefined) return false;
      await this.#flotilla.remove(id);
      return true;
    });
    this.#grpc[Symbol.dispose]();
  }

  #list() {
    return this.#grpc.call('ContainerService', 'ListContainers', {});
  }
}

function listed(answer: Record<string, unknown>): readonly Listed[] {
  return answer.containers as readonly Listed[];
}

/** Several at once, each until there is nothing more to do. */
async function inParallel(work: () => Promise<boolean>): Promise<void> {
  const client = async () => {
    while (await work());
  };
  await Promise.all(Array.from({ length: clients }, client));
}
