import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { GrpcClient } from '../harness/grpc-client.ts';
import { makeTestFolders, type TestFolders } from '../harness/test-folders.ts';
import { waitFor } from '../harness/wait.ts';

const projectRoot = fileURLToPath(new URL('../..', import.meta.url));
const program = join(projectRoot, 'services/image/src/main.ts');

/** The image service alone, in a process that is killed and started anew on the same folders. */
export class ImageProcess implements AsyncDisposable {
  readonly folders: TestFolders = makeTestFolders();
  #process: ChildProcess | undefined;
  #client: GrpcClient | undefined;

  get client(): GrpcClient {
    if (this.#client === undefined) throw new Error('the image service is not there');
    return this.#client;
  }

  /** What it keeps: `content`, `layers`, `snapshots`, `trash`. */
  get folder(): string {
    return join(this.folders.root, 'image');
  }

  async start(): Promise<void> {
    const { root, run } = this.folders;
    mkdirSync(run, { recursive: true, mode: 0o700 });
    const env = { ...process.env, FLOTILLA_ROOT: root, FLOTILLA_RUN: run, FLOTILLA_LOG: 'error' };
    const compileCache = join(projectRoot, '.cache/compile');
    const child = spawn(join(projectRoot, 'deploy/bin/node'), [program], {
      stdio: 'inherit',
      env: { ...env, NODE_COMPILE_CACHE: compileCache },
    });
    this.#process = child;
    const socket = join(run, 'image.sock');
    await waitFor(
      'the image service listens',
      async () => {
        if (child.exitCode !== null) throw new Error(`the image service ended with ${child.exitCode}`);
        return listens(socket);
      },
      60_000,
    );
    this.#client = new GrpcClient(socket);
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child !== undefined && child.exitCode === null && child.kill(signal)) await once(child, 'exit');
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }

  /** Mounts what a container would see and looks at it. */
  async withRoot<T>(key: string, look: (path: string) => T): Promise<T> {
    const answer = await this.client.call('flotilla.image.v1.SnapshotService', 'GetSnapshotMounts', { key });
    const [mount] = answer.mounts as readonly { type: string; source: string; options: readonly string[] }[];
    if (mount === undefined) throw new Error(`snapshot ${key} has no mount`);
    const target = join(this.folders.folder, 'mounted');
    mkdirSync(target, { recursive: true });
    execFileSync('mount', ['-t', mount.type, mount.source, '-o', mount.options.join(','), target]);
    try {
      return look(target);
    } finally {
      execFileSync('umount', [target]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.folders.folder, { recursive: true, force: true });
  }
}

async function listens(path: string): Promise<boolean> {
  const socket = connect(path);
  const connected = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
  });
  socket.destroy();
  return connected;
}
