import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FlotillaError, hasReason } from '@flotilla/errors';
import { ContainerCgroup } from '@flotilla/libcontainer';
import type { LinuxResources } from '@flotilla/oci';
import { AttachRequest, ShimServiceService } from '@flotilla/proto/flotilla/shim/v1/shim';
import { type Client, connect } from '@flotilla/rpc';
import { askShim, askShimOnce } from '../domain/ask-shim.ts';
import type { ContainerRecord } from '../domain/container.ts';
import type { ExecStart, Shims, Started, TaskState } from '../domain/ports.ts';
import { IdleClients } from './idle-clients.ts';
import { isShimAlive, readShimFile, type ShimFile, signalInit } from './process-identity.ts';

type ShimClient = Client<typeof ShimServiceService>;

export interface ShimClientsOptions {
  readonly shimDir: (containerId: string) => string;
  /** `/<instance>/<container id>`. */
  readonly cgroupsPath: (containerId: string) => string;
  readonly deadlineMs: number;
}

/** Calls to a shim come in bursts: start and attach, stop and delete. */
const idleMs = 5_000;
/** A shim that does not answer a signal in this time is passed by. */
const signalDeadlineMs = 2_000;
const sigkill = 9;

/** The shims of containers, each with one connection while it is asked anything. */
export class ShimClients implements Shims, Disposable {
  readonly #options: ShimClientsOptions;
  readonly #clients: IdleClients<ShimClient>;

  constructor(options: ShimClientsOptions) {
    this.#options = options;
    const { deadlineMs } = options;
    const make = (containerId: string) =>
      connect(ShimServiceService, { address: this.address(containerId), name: 'shim', deadlineMs });
    this.#clients = new IdleClients(make, idleMs);
  }

  address(containerId: string): string {
    return `unix://${join(this.#options.shimDir(containerId), 'shim.sock')}`;
  }

  async start(containerId: string, expectedAttachments: number): Promise<Started> {
    return this.#clients.use(containerId, (client) => client.startTask({ expectedAttachments }));
  }

  async state(containerId: string): Promise<TaskState> {
    const { run, state, initPid } = await this.#clients.use(containerId, (client) => client.getTask({}));
    return { run: Number(run), state: state as TaskState['state'], initPid };
  }

  /** By the shim, which knows its child; without it, or when it is stuck, by the process itself. */
  async kill({ containerId }: ContainerRecord, signal: number, all: boolean): Promise<void> {
    const file = this.#shimFile(containerId);
    if (file === undefined || isShimAlive(file)) {
      try {
        await askShimOnce(() =>
          this.#clients.use(containerId, (client) =>
            client.killTask({ signal, all, execId: '' }, { deadlineMs: signalDeadlineMs }),
          ),
        );
        return;
      } catch (error) {
        // It has ended on its own: the exit is on its way.
        if (hasReason(error, 'TASK_NOT_RUNNING')) return;
        if (!hasReason(error, 'SERVICE_UNAVAILABLE') || file === undefined) throw error;
      }
    }
    signalInit(file, signal);
    if (all && signal === sigkill) ContainerCgroup.open(this.#options.cgroupsPath(containerId)).killAll(signal);
  }

  limit(containerId: string, resources: LinuxResources): readonly string[] {
    return ContainerCgroup.open(this.#options.cgroupsPath(containerId)).change(resources);
  }

  async pause(containerId: string): Promise<void> {
    await askShim(() => this.#clients.use(containerId, (client) => client.pauseTask({})));
  }

  async resume(containerId: string): Promise<void> {
    await askShim(() => this.#clients.use(containerId, (client) => client.resumeTask({})));
  }

  async startExec(containerId: string, start: ExecStart): Promise<number> {
    const { pid } = await this.#clients.use(containerId, (client) => client.startExec(start));
    return pid;
  }

  async followExec(
    containerId: string,
    execId: string,
    onOutput: (chunk: Uint8Array) => void,
    signal: AbortSignal,
  ): Promise<number> {
    const start = { execId, stdout: true, stderr: true };
    const requests = [AttachRequest.fromPartial({ message: { $case: 'start', value: start } })];
    using lease = this.#clients.lease(containerId);
    for await (const { message } of lease.client.attach(fromArray(requests), { signal })) {
      if (message?.$case === 'output') onOutput(message.value.data);
      if (message?.$case === 'ended') return message.value.exitCode;
    }
    throw new FlotillaError('unavailable', 'the shim left before the exec ended', { reason: 'SHIM_REPLACED' });
  }

  async killExec(containerId: string, execId: string, signal: number): Promise<void> {
    const kill = (all: boolean) =>
      this.#clients.use(containerId, (client) =>
        client.killTask({ signal, all, execId }, { deadlineMs: signalDeadlineMs }),
      );
    await kill(true).catch((error: unknown) => {
      if (!hasReason(error, 'INVALID_FIELD')) throw error;
      return kill(false); // a shim of an earlier release knows no groups
    });
  }

  async resize(containerId: string, execId: string, size: { rows: number; columns: number }): Promise<void> {
    await askShim(() => this.#clients.use(containerId, (client) => client.resizeTerminal({ execId, size })));
  }

  async delete(containerId: string): Promise<void> {
    const { shimDir, cgroupsPath } = this.#options;
    const file = this.#shimFile(containerId);
    try {
      const cgroup = ContainerCgroup.open(cgroupsPath(containerId));
      // Whoever says that all is gone: the next run must not meet a process of this one.
      if (file === undefined || !(await this.#deleteByShim(containerId, file)) || cgroup.isPopulated()) {
        cgroup.killAll(sigkill);
        cgroup.remove();
      }
    } finally {
      this.#clients.forget(containerId);
    }
    await rm(shimDir(containerId), { recursive: true, force: true, maxRetries: 3 });
  }

  [Symbol.dispose](): void {
    this.#clients[Symbol.dispose]();
  }

  /** False when the shim is gone, before or meanwhile: then what is left is ours to remove. */
  async #deleteByShim(containerId: string, file: ShimFile): Promise<boolean> {
    if (!isShimAlive(file)) return false;
    try {
      const { deadlineMs } = this.#options;
      await askShimOnce(() => this.#clients.use(containerId, (client) => client.deleteTask({}, { deadlineMs })));
      return true;
    } catch (error) {
      if (error instanceof FlotillaError && error.code === 'unavailable' && !isShimAlive(file)) return false;
      throw error;
    }
  }

  #shimFile(containerId: string): ShimFile | undefined {
    return readShimFile(this.#options.shimDir(containerId));
  }
}

async function* fromArray<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
