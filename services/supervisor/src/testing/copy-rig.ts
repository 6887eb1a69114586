import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type {
  ContainerConfig,
  DeepPartial,
  WriteArchiveOptions,
  WriteArchiveRequest,
} from '@flotilla/proto/flotilla/v1/container';
import { aConfig } from './builders.ts';
import { TestEngine } from './test-engine.ts';

const mostBytes = 64 << 20;

/** An engine whose containers files are copied into and out of. */
export class CopyRig implements AsyncDisposable {
  readonly engine = new TestEngine();
  readonly folder = mkdtempSync('/tmp/fl-cp-');

  static async start(): Promise<CopyRig> {
    const rig = new CopyRig();
    await rig.engine.start();
    return rig;
  }

  async create(config: DeepPartial<ContainerConfig> = {}): Promise<string> {
    const request = { config: aConfig({ networkMode: 'none', ...config }), name: '', idempotencyKey: '' };
    return (await this.engine.containers.createContainer(request)).containerId;
  }

  /** A container that runs until it is removed. */
  async running(config: DeepPartial<ContainerConfig> = {}): Promise<string> {
    const container = await this.create({ command: ['sleep', '1000'], ...config });
    await this.start(container);
    return container;
  }

  async start(container: string): Promise<void> {
    await this.engine.containers.startContainer({ container });
  }

  async remove(container: string): Promise<void> {
    await this.engine.containers.removeContainer({ container, force: true, removeVolumes: true });
  }

  async read(container: string, path: string): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for await (const { chunk } of this.engine.containers.readArchive({ container, path })) pieces.push(chunk);
    return Buffer.concat(pieces);
  }

  async stat(container: string, path: string) {
    return (await this.engine.containers.statArchive({ container, path })).stat!;
  }

  async write(container: string, path: string, tar: Buffer, options: Partial<WriteArchiveOptions> = {}): Promise<void> {
    async function* requests(): AsyncGenerator<WriteArchiveRequest> {
      const value = { container, path, noOverwriteDirNonDir: false, copyUidGid: false, ...options };
      yield { part: { $case: 'options', value } };
      for (let at = 0; at < tar.length; at += 1 << 20) {
        yield { part: { $case: 'chunk', value: tar.subarray(at, at + (1 << 20)) } };
      }
    }
    await this.engine.containers.writeArchive(requests());
  }

  /** A folder of its own. */
  makeFolder(name: string): string {
    return mkdtempSync(join(this.folder, `${name}-`));
  }

  /** A folder with a file in it, as a tar whose entries are named `name`. */
  oneFile(name: string, text: string): Buffer {
    const source = this.makeFolder('one');
    mkdirSync(join(source, name, '..'), { recursive: true });
    writeFileSync(join(source, name), text);
    return tar('-C', source, '-cf', '-', name);
  }

  /** Nothing of this engine is ever mounted on the host. */
  assertNothingMounted(): void {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    assert.deepEqual(
      mounts.filter((line) => line.includes(join(this.engine.folder, 'root'))),
      [],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What tar(1) writes to its output; it must end with 0. */
export function tar(...args: string[]): Buffer {
  return execFileSync('tar', args, { maxBuffer: mostBytes });
}

/** The same, of a tar that it is given. */
export function tarOf(archive: Buffer, ...args: string[]): string {
  return execFileSync('tar', ['-f', '-', ...args], { input: archive, maxBuffer: mostBytes }).toString();
}

/** Names in a tar. */
export function list(archive: Buffer): string[] {
  return tarOf(archive, '-t').split('\n').filter(Boolean);
}

/** A file in a tar. */
export function content(archive: Buffer, name: string): string {
  return tarOf(archive, '-xO', name);
}
