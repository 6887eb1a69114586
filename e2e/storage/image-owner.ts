import { status } from '@grpc/grpc-js';
import type { Random } from '../chaos/random.ts';
import type { GrpcClient } from '../harness/grpc-client.ts';
import { captain } from '../harness/registry.ts';
import type { SampleImage } from './sample-images.ts';
import { wrongInArchive } from './saved-archive.ts';

const snapshotService = 'flotilla.image.v1.SnapshotService';
const treeService = 'flotilla.image.v1.SnapshotTreeService';
const chunkBytes = 1 << 20;

/** What there must be of an owner's images. */
interface State {
  readonly present: ReadonlySet<string>;
  /** Image id by reference; digests that an image was pulled by are not counted. */
  readonly references: ReadonlyMap<string, string>;
  /** Image id by key. */
  readonly snapshots: ReadonlyMap<string, string>;
}

interface Step {
  readonly name: string;
  readonly after: State;
  readonly run: (client: GrpcClient) => Promise<unknown>;
}

/** An image of an owner, and where it is to be had. */
export interface OwnImage extends SampleImage {
  /** As it is loaded. */
  readonly name: string;
  readonly archiveBytes: Buffer;
  /** As it is pulled. */
  readonly remote: string;
}

export const kinds = [
  'pull',
  'load',
  'remove',
  'retag',
  'prune',
  'prune dangling',
  'use',
  'leave',
  'commit',
  'save',
] as const;
type Kind = (typeof kinds)[number];
/** What takes long, and what makes something for others, more often. */
const weights: Readonly<Record<Kind, number>> = {
  pull: 5,
  load: 4,
  commit: 4,
  save: 2,
  use: 3,
  retag: 2,
  remove: 2,
  leave: 1,
  prune: 1,
  'prune dangling': 1,
};
const choices = kinds.flatMap((kind) => Array.from({ length: weights[kind] }, () => kind));

/**
 * One who works with images of its own, of which it alone takes names away; their layers and blobs are others', too. What was
 * answered has happened; of what was not, all or nothing.
 */
export class ImageOwner {
  readonly name: string;
  readonly images: readonly OwnImage[];
  readonly counts = new Map<Kind, number>();
  readonly violations: string[] = [];
  readonly #random: Random;
  readonly #write: (key: string, content: string) => void;
  #made = 0;
  #state: State = { present: new Set(), references: new Map(), snapshots: new Map() };
  /** Under way when the service was killed. */
  #pending: { readonly name: string; readonly after: State } | undefined;

  /** `write` does what a container would: puts a file into a snapshot. */
  constructor(
    name: string,
    images: readonly OwnImage[],
    random: Random,
    write: (key: string, content: string) => void,
  ) {
    this.name = name;
    this.#write = write;
    this.images = images;
    this.#random = random;
  }

  /** One thing after the other, until the service is killed. */
  async work(client: GrpcClient, killed: AbortSignal): Promise<void> {
    while (!killed.aborted) {
      const kind = this.#random.pick(choices);
      const step = this.#plan(kind);
      if (step === undefined) continue;
      try {
        await step.run(client);
        this.#state = step.after;
        this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
      } catch (error) {
        const { code, message } = error as Error & { readonly code?: number };
        const isLost = code === status.UNAVAILABLE || code === status.CANCELLED;
        if (!killed.aborted || !isLost) this.violations.push(`${this.name}: ${step.name}: ${message}`);
        this.#pending = step;
      }
    }
  }

  /** Compares what there is with what was promised, and takes what there is for what there must be from now on. */
  async check(client: GrpcClient): Promise<void> {
    const found = await this.#find(client);
    const outcomes = [this.#state, ...(this.#pending === undefined ? [] : [this.#pending.after])];
    const known = new Set(this.images.map(({ imageId }) => imageId));
    const text = describe(found, known);
    if (!outcomes.some((outcome) => describe(outcome, known) === text)) {
      const allowed = outcomes.map((outcome) => describe(outcome, known)).join(' or ');
      this.violations.push(`${this.name}: after ${this.#pending?.name ?? 'nothing'}: is ${text}, not ${allowed}`);
    }
    this.#state = found;
    this.#pending = undefined;
  }

  /** Pulls one of its images, that must succeed. */
  async pull(client: GrpcClient, reference: string): Promise<void> {
    await drain(client, reference);
  }

  /** Takes what there is for what there must be. */
  async adopt(client: GrpcClient): Promise<void> {
    this.#state = await this.#find(client);
  }

  /** Whether a kill has cut off something. */
  get isCut(): boolean {
    return this.#pending !== undefined;
  }

  /** Images that are there. */
  get present(): readonly OwnImage[] {
    return this.images.filter(({ imageId }) => this.#state.present.has(imageId));
  }

  /** Leaves all containers and removes all images. */
  async clear(client: GrpcClient): Promise<void> {
    for (const key of this.#state.snapshots.keys()) await client.call(snapshotService, 'RemoveSnapshot', { key });
    await client.call('ImageService', 'PruneImages', { all: true, labels: [`owner=${this.name}`] });
    this.#state = { present: new Set(), references: new Map(), snapshots: new Map() };
  }

  async #find(client: GrpcClient): Promise<State> {
    const labels = [`owner=${this.name}`];
    const { images } = await client.call('ImageService', 'ListImages', { labels, dangling: true });
    const { keys } = await client.call(snapshotService, 'ListSnapshots', {});
    const listed = images as readonly { image_id: string; references: readonly string[] }[];
    const own = (keys as readonly string[]).filter((key) => key.startsWith(`${this.name}-`));
    return {
      present: new Set(listed.map(({ image_id: id }) => id)),
      references: new Map(listed.flatMap(({ image_id: id, references }) => references.map((name) => [name, id]))),
      snapshots: new Map(own.map((key) => [key, this.images[Number(key.split('-').at(-1))]?.imageId ?? ''])),
    };
  }

  #plan(kind: Kind): Step | undefined {
    const { present, references, snapshots } = this.#state;
    const random = this.#random;
    const image = random.pick(this.images);
    const { imageId, name: local, remote } = image;
    const isThere = present.has(imageId);
    switch (kind) {
      case 'pull':
        return this.#step(kind, remote, this.#with(imageId, remote), (client) => drain(client, remote));
      case 'load':
        return this.#step(kind, local, this.#with(imageId, local), (client) => load(client, image.archiveBytes));
      case 'remove': {
        if (references.size === 0) return undefined;
        const [name, id] = random.pick([...references]);
        const left = new Map([...references].filter(([other]) => other !== name));
        const goes = ![...left.values()].includes(id);
        if (goes && [...snapshots.values()].includes(id)) return undefined;
        const after = { snapshots, references: left, present: without(present, goes ? [id] : []) };
        return this.#step(kind, name, after, (client) => client.call('ImageService', 'RemoveImage', { image: name }));
      }
      case 'retag': {
        if (!isThere) return undefined;
        const reference = random.pick(this.images).name;
        const after = { present, snapshots, references: new Map([...references, [reference, imageId]]) };
        return this.#step(kind, reference, after, (client) =>
          client.call('ImageService', 'TagImage', { image: imageId, reference }),
        );
      }
      case 'prune':
      case 'prune dangling': {
        const all = kind === 'prune';
        const kept = new Set([...snapshots.values(), ...(all ? [] : references.values())]);
        const going = [...present].filter((id) => !kept.has(id));
        const left = new Map([...references].filter(([, id]) => !going.includes(id)));
        const after = { snapshots, references: left, present: without(present, going) };
        const request = { all, labels: [`owner=${this.name}`] };
        return this.#step(kind, '', after, (client) => client.call('ImageService', 'PruneImages', request));
      }
      case 'use': {
        if (!isThere) return undefined;
        const key = `${this.name}-${this.images.indexOf(image)}`;
        const after = { present, references, snapshots: new Map([...snapshots, [key, imageId]]) };
        const request = { key, image_id: imageId };
        return this.#step(kind, key, after, (client) => client.call(snapshotService, 'PrepareSnapshot', request));
      }
      case 'leave': {
        if (snapshots.size === 0) return undefined;
        const [key] = random.pick([...snapshots]);
        const left = new Map([...snapshots].filter(([other]) => other !== key));
        return this.#step(kind, key, { present, references, snapshots: left }, (client) =>
          client.call(snapshotService, 'RemoveSnapshot', { key }),
        );
      }
      case 'save': {
        if (references.size === 0) return undefined;
        const [name] = random.pick([...references]);
        return this.#step(kind, name, this.#state, async (client) => {
          const wrong = await wrongInArchive(client.stream('ImageService', 'SaveImages', { references: [name] }));
          this.violations.push(...wrong.map((text) => `${this.name}: ${kind} ${name}: ${text}`));
        });
      }
      case 'commit': {
        if (snapshots.size === 0) return undefined;
        const [key] = random.pick([...snapshots]);
        const reference = `${this.name}/committed:1`;
        // Nobody knows its id before.
        const made = `made-${++this.#made}`;
        const after = {
          snapshots,
          present: new Set([...present, made]),
          references: new Map([...references, [reference, made]]),
        };
        const request = { key, reference, config: { labels: { owner: this.name } } };
        const content = random
          .integer(0, 2 ** 31)
          .toString()
          .repeat(random.integer(1, 20_000));
        return this.#step(kind, key, after, async (client) => {
          this.#write(key, content);
          for await (const _ of client.stream(treeService, 'CommitSnapshot', request));
        });
      }
    }
  }

  #step(kind: Kind, of: string, after: State, run: Step['run']): Step {
    return { name: `${kind} ${of}`, after, run };
  }

  #with(imageId: string, reference: string): State {
    const { present, references, snapshots } = this.#state;
    return {
      snapshots,
      present: new Set([...present, imageId]),
      references: new Map([...references, [reference, imageId]]),
    };
  }
}

async function drain(client: GrpcClient, reference: string): Promise<void> {
  for await (const _ of client.stream('ImageService', 'PullImage', { reference, auth: captain }));
}

async function load(client: GrpcClient, archive: Buffer): Promise<void> {
  const chunks: { chunk: Buffer }[] = [];
  for (let at = 0; at < archive.length; at += chunkBytes) chunks.push({ chunk: archive.subarray(at, at + chunkBytes) });
  await client.exchange('ImageService', 'LoadImages', chunks, { end: true });
}

function without(ids: ReadonlySet<string>, going: readonly string[]): ReadonlySet<string> {
  return new Set([...ids].filter((id) => !going.includes(id)));
}

/** Images that were committed are all alike. */
function describe({ present, references, snapshots }: State, known: ReadonlySet<string>): string {
  const short = (id: string) => (known.has(id) ? id.slice(7, 15) : 'made');
  const pairs = (map: ReadonlyMap<string, string>) => [...map].map(([name, id]) => `${name}=${short(id)}`).sort();
  return `[${[...present].map(short).sort().join(' ')} | ${pairs(references).join(' ')} | ${pairs(snapshots).join(' ')}]`;
}
