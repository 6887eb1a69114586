import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../chaos/random.ts';
import { Registry } from '../harness/registry.ts';
import { waitFor } from '../harness/wait.ts';
import { ImageOwner, kinds, type OwnImage } from './image-owner.ts';
import { ImageProcess } from './image-process.ts';
import { blobsOf, contentsOf, differences, wrongBlobs } from './look-at-store.ts';
import { makeImage, makeLayers } from './sample-images.ts';

export interface KillPlan {
  readonly seed: number;
  readonly kills: number;
  /** How many work at once. */
  readonly clients: number;
  /** Ends it before, after the kill that is under way. */
  readonly signal?: AbortSignal;
  /** Told after each kill. */
  readonly onKill?: (number: number, violations: number) => void;
}

export interface KillReport {
  readonly violations: readonly string[];
  /** Calls that were answered, by what they did. */
  readonly answered: Readonly<Record<string, number>>;
  /** Calls that a kill cut off. */
  readonly cut: number;
  readonly kills: number;
  readonly blobsChecked: number;
  readonly rootsChecked: number;
}

const digestOf = (data: Buffer) => `sha256:${createHash('sha256').update(data).digest('hex')}`;
/** Of the container that is kept. */
const writtenFile = `file 644 ${digestOf(Buffer.from('x')).slice(7)}`;
const snapshotService = 'flotilla.image.v1.SnapshotService';
const imagesEach = 2;
const layerCount = 6;
/** Calls that are answered before a kill, at most. */
const mostAnswers = 4;
const longestRoundMs = 10_000;
const settleEvery = 8;

/**
 * Kills the image service again and again while clients pull, load, name, use, commit, remove and prune images that share layers. After
 * each kill: every blob is what its name says, all that was answered is there, of the rest all or nothing, and roots are right. Every
 * few kills: after a prune nothing is left but what is referred to.
 */
export async function killImageService({
  seed,
  kills,
  clients,
  signal,
  onKill = () => {},
}: KillPlan): Promise<KillReport> {
  const random = new Random(seed);
  await using registry = await Registry.start();
  await using service = new ImageProcess();
  const layers = makeLayers(random, layerCount);
  const owners: ImageOwner[] = [];
  for (let number = 0; number <= clients; number++) {
    // The last one does nothing: what it has must stay.
    const name = number === clients ? 'keeper' : `owner${number}`;
    const images: OwnImage[] = [];
    for (let index = 0; index < imagesEach; index++) {
      const chosen = layers.filter(() => random.next() < 0.6);
      const own = makeImage(chosen.length === 0 ? layers.slice(0, 1) : chosen, { owner: name, number: String(index) });
      const path = `${name}/image${index}:1`;
      await registry.push(own.archive(path), path);
      images.push({ ...own, name: path, archiveBytes: own.archive(path), remote: `${registry.host}/${path}` });
    }
    const write = (key: string, content: string) =>
      writeFileSync(join(service.folder, 'snapshots', key, 'fs/written'), content);
    owners.push(new ImageOwner(name, images, new Random(random.integer(0, 2 ** 31)), write));
  }
  const run = new KillRun(service, owners);
  await service.start();
  await run.keep();
  for (let number = 1; number <= kills; number++) {
    await run.killOnce(random);
    const isLast = number === kills || signal?.aborted === true;
    if (number % settleEvery === 0 || isLast) await run.settle();
    onKill(number, run.violations.length);
    if (isLast) break;
  }
  await run.end();
  return run.report();
}

class KillRun {
  readonly #service: ImageProcess;
  readonly #workers: readonly ImageOwner[];
  readonly #keeper: ImageOwner;
  readonly #wrong: string[] = [];
  #keptBlobs: readonly string[] = [];
  #keptLayers: readonly string[] = [];
  #pullMs = 0;
  #cut = 0;
  #kills = 0;
  #blobsChecked = 0;
  #rootsChecked = 0;

  constructor(service: ImageProcess, owners: readonly ImageOwner[]) {
    this.#service = service;
    this.#workers = owners.slice(0, -1);
    this.#keeper = owners.at(-1)!;
  }

  get violations(): readonly string[] {
    return [...this.#wrong, ...[...this.#workers, this.#keeper].flatMap(({ violations }) => violations)];
  }

  /** The images of the one that keeps, one of them used by a container that has written something. */
  async keep(): Promise<void> {
    const { client, folder } = this.#service;
    const startedAt = performance.now();
    for (const { remote } of this.#keeper.images) await this.#keeper.pull(client, remote);
    this.#pullMs = (performance.now() - startedAt) / this.#keeper.images.length;
    const [image] = this.#keeper.images;
    await client.call(snapshotService, 'PrepareSnapshot', { key: 'keeper-0', image_id: image!.imageId });
    await this.#service.withRoot('keeper-0', (root) => writeFileSync(join(root, 'written'), 'x', { mode: 0o644 }));
    await this.#keeper.adopt(client);
    this.#keptBlobs = [...blobsOf(folder)].sort();
    this.#keptLayers = contentsOf(folder).layers ?? [];
  }

  /** In the middle of something: after some answers, and then a part of the time that a pull takes here. */
  async killOnce(random: Random): Promise<void> {
    const answers = this.#answers() + random.integer(0, mostAnswers);
    const afterMs = random.next() * this.#pullMs;
    const service = this.#service;
    const killed = new AbortController();
    const { client } = service;
    const working = this.#workers.map((worker) => worker.work(client, killed.signal));
    const until = Date.now() + longestRoundMs;
    while (this.#answers() < answers && Date.now() < until) await sleep(5);
    await sleep(afterMs);
    killed.abort();
    await service.kill();
    this.#kills++;
    await Promise.all(working);
    this.#cut += this.#workers.filter(({ isCut }) => isCut).length;
    this.#checkBlobs('after a kill');
    await service.start();
    const { 'content/ingest': left = [] } = contentsOf(service.folder);
    if (left.length > 0) this.#wrong.push(`after a start the ingest folder has ${left.join()}`);
    for (const owner of [...this.#workers, this.#keeper]) await owner.check(service.client);
    const there = this.#workers.flatMap(({ present }) => present);
    if (there.length > 0) await this.#checkRoot(random.pick(there));
    await this.#checkRoot(this.#keeper.images[0]!, 'keeper-0');
  }

  /** Nobody works: all of those who did goes, and nothing else. */
  async settle(): Promise<void> {
    const { client } = this.#service;
    for (const image of [...this.#workers, this.#keeper].flatMap(({ present }) => present))
      await this.#checkRoot(image);
    for (const worker of this.#workers) await worker.clear(client);
    await this.#checkLeft('after a prune', {
      'content/blobs/sha256': this.#keptBlobs,
      'content/ingest': [],
      layers: this.#keptLayers,
      snapshots: ['keeper-0'],
      trash: [],
    });
    this.#checkBlobs('after a prune');
  }

  /** What was kept goes, too. */
  async end(): Promise<void> {
    const { client } = this.#service;
    await this.#keeper.clear(client);
    const empty = { 'content/blobs/sha256': [], 'content/ingest': [], layers: [], snapshots: [], trash: [] };
    await this.#checkLeft('at the end', empty);
    const { images_bytes: bytes } = await client.call('flotilla.image.v1.UsageService', 'GetUsage', {});
    if (bytes !== '0') this.#wrong.push(`at the end images are said to take ${bytes} bytes`);
    await this.#service.kill('SIGTERM');
  }

  #answers(): number {
    return this.#workers.reduce((sum, { counts }) => sum + [...counts.values()].reduce((a, b) => a + b, 0), 0);
  }

  report(): KillReport {
    const count = (kind: (typeof kinds)[number]) =>
      this.#workers.reduce((sum, { counts }) => sum + (counts.get(kind) ?? 0), 0);
    return {
      violations: this.violations,
      answered: Object.fromEntries(kinds.map((kind) => [kind, count(kind)])),
      cut: this.#cut,
      kills: this.#kills,
      blobsChecked: this.#blobsChecked,
      rootsChecked: this.#rootsChecked,
    };
  }

  /** Bytes of what was removed go a little later. */
  async #checkLeft(when: string, expected: Readonly<Record<string, readonly string[]>>): Promise<void> {
    const wrong = () => {
      const found = contentsOf(this.#service.folder);
      return Object.entries(expected).filter(([name, list]) => found[name]?.join() !== list.join());
    };
    await waitFor('what was removed is gone', () => wrong().length === 0).catch(() => {
      const found = contentsOf(this.#service.folder);
      for (const [name, list] of wrong())
        this.#wrong.push(`${when} ${name} has ${found[name]?.join() || 'nothing'}, not ${list.join() || 'nothing'}`);
    });
  }

  #checkBlobs(when: string): void {
    const { folder } = this.#service;
    this.#blobsChecked += blobsOf(folder).length;
    for (const name of wrongBlobs(folder)) this.#wrong.push(`${when} blob ${name} is not what its name says`);
  }

  async #checkRoot({ imageId, name, tree }: OwnImage, key = 'looked-at'): Promise<void> {
    const { client } = this.#service;
    const isOwn = key === 'looked-at';
    if (isOwn) await client.call(snapshotService, 'PrepareSnapshot', { key, image_id: imageId });
    const expected = new Map(tree);
    if (!isOwn) expected.set('written', writtenFile);
    const wrong = await this.#service.withRoot(key, (root) => differences(root, expected));
    if (isOwn) await client.call(snapshotService, 'RemoveSnapshot', { key });
    this.#rootsChecked++;
    if (wrong.length > 0) this.#wrong.push(`root of ${name}: ${wrong.slice(0, 5).join('; ')}`);
    const { image, config_json: config } = await client.call('ImageService', 'GetImage', { image: imageId });
    if ((image as { image_id: string }).image_id !== imageId || digestOf(config as Buffer) !== imageId)
      this.#wrong.push(`${name} is served with a config that is not its own`);
  }
}
