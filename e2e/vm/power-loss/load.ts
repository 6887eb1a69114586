import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../chaos/random.ts';
import { demoImage } from '../../harness/engine.ts';
import type { GrpcClient } from '../../harness/grpc-client.ts';
import { tar } from '../../images/tar-writer.ts';
import { format, logLine, policies, type Report, type Step } from './record.ts';

/** Lasting containers at a time: each has a shim. */
const mostLasting = 8;

/** Uses the engine until the power is cut, and reports each call before it is made and once it was acknowledged. */
export class Load {
  readonly #client: GrpcClient;
  readonly #random: Random;
  /** In the names of all that it makes. */
  readonly #label: string;
  readonly #lastingNames: string[] = [];
  readonly #tags: string[] = [];
  #number = 0;

  constructor(client: GrpcClient, seed: number) {
    this.#client = client;
    this.#random = new Random(seed);
    this.#label = `n${seed}`;
  }

  run(): Promise<unknown> {
    return Promise.all([
      this.#events(),
      this.#again(() => this.#lasting()),
      this.#again(() => this.#passing()),
      this.#again(() => this.#image()),
    ]);
  }

  async #again(work: () => Promise<void>): Promise<never> {
    for (;;) {
      // A call that fails is one that was not acknowledged: what became of it is looked at after the boot.
      await work().catch((error: Error) => process.stdout.write(`load: ${error.message}\n`));
      await sleep(this.#random.integer(0, 300));
    }
  }

  async #lasting(): Promise<void> {
    const name = this.#name('lasts');
    const policy = this.#random.pick(policies);
    await this.#create({ op: 'create', name, policy }, ['sh', '-c', `while :; do echo ${logLine}; sleep 1; done`]);
    if (this.#random.next() < 0.1) return;
    await this.#act('start', 'StartContainer', name);
    this.#lastingNames.push(name);
    if (this.#lastingNames.length > mostLasting || this.#random.next() < 0.3) {
      const [one = ''] = this.#lastingNames.splice(this.#random.integer(0, this.#lastingNames.length - 1), 1);
      await this.#act('stop', 'StopContainer', one, { timeout_seconds: 0 });
      if (this.#lastingNames.length >= mostLasting) await this.#act('remove', 'RemoveContainer', one);
    }
  }

  async #passing(): Promise<void> {
    const name = this.#name('passes');
    const exitCode = this.#random.integer(0, 99);
    await this.#create({ op: 'create', name, policy: 'no', exitCode }, ['sh', '-c', `exit ${exitCode}`]);
    await this.#act('start', 'StartContainer', name);
    await this.#act('wait', 'WaitContainer', name);
    if (this.#random.next() < 0.5) await this.#act('remove', 'RemoveContainer', name);
  }

  async #image(): Promise<void> {
    const reference = `${this.#name('image')}:latest`;
    const content = randomBytes(this.#random.integer(1, 256) << 10);
    const random = createHash('sha256').update(content).digest('hex');
    let imageId = '';
    await this.#report({ op: 'import', reference, random }, async (step) => {
      const chunk = rootOf(content);
      const chunks = Array.from({ length: Math.ceil(chunk.length / 2 ** 19) }, (_, i) => ({
        chunk: chunk.subarray(i * 2 ** 19, (i + 1) * 2 ** 19),
      }));
      const answers = await this.#client.exchange(
        'ImageService',
        'ImportImage',
        [{ options: { reference } }, ...chunks],
        {
          end: true,
        },
      );
      const [image] = answers.flatMap((answer) => (answer.image === undefined ? [] : [answer.image]));
      imageId = (image as { image_id: string }).image_id;
      return { ...step, imageId };
    });
    const tag = `${this.#name('tag')}:latest`;
    await this.#report({ op: 'tag', reference: tag, imageId }, async (step) => {
      await this.#client.call('ImageService', 'TagImage', { image: imageId, reference: tag });
      return step;
    });
    this.#tags.push(tag);
    const old = this.#tags.length > 1 ? this.#tags.shift() : undefined;
    if (old !== undefined) {
      await this.#report({ op: 'untag', reference: old }, async (step) => {
        await this.#client.call('ImageService', 'RemoveImage', { image: old });
        return step;
      });
    }
    const name = this.#name('volume');
    await this.#report({ op: 'volume', name }, async (step) => {
      await this.#client.call('VolumeService', 'CreateVolume', { name });
      return step;
    });
  }

  #create(step: Step & { op: 'create' }, command: readonly string[]): Promise<void> {
    const { name, policy } = step;
    const config = { image: demoImage, command, network_mode: 'none', restart_policy: { name: policy } };
    return this.#report(step, async () => {
      const { container_id: id } = await this.#client.call('ContainerService', 'CreateContainer', { name, config });
      return { ...step, id: String(id) };
    });
  }

  #act(op: 'start' | 'stop' | 'wait' | 'remove', method: string, name: string, more = {}): Promise<void> {
    return this.#report({ op, name }, async (step) => {
      await this.#client.call('ContainerService', method, { container: name, ...more });
      return step;
    });
  }

  async #report(step: Step, work: (step: Step) => Promise<Step>): Promise<void> {
    write({ kind: 'ask', step });
    write({ kind: 'done', step: await work(step) });
  }

  async #events(): Promise<void> {
    for await (const { sequence, event } of this.#client.stream('EventService', 'StreamEvents', {})) {
      write({ kind: 'event', sequence: Number(sequence), id: (event as { event_id: string }).event_id });
    }
  }

  #name(what: string): string {
    return `${what}-${this.#label}-${++this.#number}`;
  }
}

export function write(report: Report): void {
  process.stdout.write(`${format(report)}\n`);
}

/** A root file system with a shell and a file that no other image has. */
function rootOf(random: Buffer): Buffer {
  return tar([
    ...['bin/', 'dev/', 'proc/', 'sys/'].map((name) => ({ name, type: 'folder' as const, mode: 0o755 })),
    { name: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 },
    ...['sh', 'sha256sum'].map((name) => ({ name: `bin/${name}`, type: 'symlink' as const, target: 'busybox' })),
    { name: 'random', content: random },
  ]);
}
