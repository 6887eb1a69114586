import { mkdtempSync, rmSync } from 'node:fs';
import { loadPaths, type Paths, socketPath } from '@flotilla/config';
import { createLogger } from '@flotilla/log';
import { ContainerServiceService } from '@flotilla/proto/flotilla/v1/container';
import { ExecServiceService } from '@flotilla/proto/flotilla/v1/exec';
import { ImageServiceService } from '@flotilla/proto/flotilla/v1/image';
import { VolumeServiceService } from '@flotilla/proto/flotilla/v1/volume';
import { connect, type RpcServer, serve } from '@flotilla/rpc';
import { connectSupervisor } from '../adapters/owners.ts';
import { ShimConnections } from '../adapters/shim-connections.ts';
import { ownedServices } from '../server/services.ts';
import { fakeImages, fakeShim, fakeSupervisor, Owners } from './fake-owners.ts';

const log = createLogger({ service: 'test', level: 'silent' });

/** The real services of an api, with clients of it, in front of owners of the tests', which come and go. */
export class ApiRig implements AsyncDisposable {
  readonly folder = mkdtempSync('/tmp/fl-api-');
  readonly owners = new Owners();
  /** Tells the api that it is to stop. */
  readonly stopping = new AbortController();
  /** Closed at the end. */
  readonly stack = new AsyncDisposableStack();
  readonly #paths: Paths = loadPaths({ FLOTILLA_ROOT: `${this.folder}/root`, FLOTILLA_RUN: this.folder });
  readonly #address = `unix://${socketPath(this.#paths, 'api')}`;
  readonly containers = this.stack.use(connect(ContainerServiceService, { address: this.#address, name: 'api' }));
  readonly execs = this.stack.use(connect(ExecServiceService, { address: this.#address, name: 'api' }));
  readonly images = this.stack.use(connect(ImageServiceService, { address: this.#address, name: 'api' }));
  readonly volumes = this.stack.use(connect(VolumeServiceService, { address: this.#address, name: 'api' }));

  static async start(): Promise<ApiRig> {
    const rig = new ApiRig();
    await rig.#serve();
    return rig;
  }

  async #serve(): Promise<void> {
    const [paths, deadlineMs] = [this.#paths, 700];
    const supervisor = this.stack.use(connectSupervisor(`unix://${socketPath(paths, 'supervisor')}`, deadlineMs));
    const shims = this.stack.use(new ShimConnections());
    const stopping = this.stopping.signal;
    const owned = ownedServices({ paths, supervisor, shims, deadlineMs, resumeMs: 5_000, stopping });
    const implementations = owned.map((one) => this.stack.use(one));
    this.stack.use(await serve({ socketPath: socketPath(paths, 'api'), implementations, service: 'api', log }));
  }

  startSupervisor(): Promise<RpcServer> {
    const implementations = fakeSupervisor(this.owners, `unix://${this.folder}/shim.sock`);
    const socket = socketPath(this.#paths, 'supervisor');
    return serve({ socketPath: socket, implementations, service: 'supervisor', log, drainMs: 20 });
  }

  startShim(): Promise<RpcServer> {
    const implementations = [fakeShim(this.owners)];
    return serve({ socketPath: `${this.folder}/shim.sock`, implementations, service: 'shim', log, drainMs: 20 });
  }

  startImages(): Promise<RpcServer> {
    const implementations = [fakeImages];
    return serve({ socketPath: socketPath(this.#paths, 'image'), implementations, service: 'image', log });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
    rmSync(this.folder, { recursive: true });
  }
}
