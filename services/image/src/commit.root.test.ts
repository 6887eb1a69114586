import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createReadStream, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasReason } from '@flotilla/errors';
import { SnapshotServiceService } from '@flotilla/proto/flotilla/image/v1/snapshot';
import { CommitSnapshotRequest, SnapshotTreeServiceService } from '@flotilla/proto/flotilla/image/v1/snapshot_tree';
import { type Image, ImageServiceService, ImportImageOptions } from '@flotilla/proto/flotilla/v1/image';
import { type Client, connect } from '@flotilla/rpc';

// The real service in a process of its own, a snapshot mounted by the kernel, the images read by skopeo and umoci.
const skip =
  process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'mounts and makes devices: only root, with FLOTILLA_ROOT_TESTS=1';
const folder = mkdtempSync(join(tmpdir(), 'fl-commit-'));
const run = mkdtempSync(join(tmpdir(), 'fc-'));
const root = join(folder, 'root');
const mounted = join(folder, 'mounted');
const key = 'container';
let service: ChildProcess;
let images: Client<typeof ImageServiceService>;
let snapshots: Client<typeof SnapshotServiceService>;
let trees: Client<typeof SnapshotTreeServiceService>;
let base: Image;

const shell = (script: string, cwd = folder) =>
  execFileSync('sh', ['-ec', script], { cwd, stdio: ['ignore', 'pipe', 'pipe'] }).toString();

function start(): void {
  const env = { ...process.env, FLOTILLA_ROOT: root, FLOTILLA_RUN: run, FLOTILLA_LOG: 'error' };
  service = spawn(process.execPath, [new URL('./main.ts', import.meta.url).pathname], { env, stdio: 'inherit' });
}

async function stop(signal: NodeJS.Signals): Promise<void> {
  if (service.exitCode !== null || service.signalCode !== null) return;
  const ended = new Promise((resolve) => service.once('exit', resolve));
  service.kill(signal);
  await ended;
}

before(async () => {
  if (skip !== false) return;
  for (const path of [root, mounted]) mkdirSync(path);
  start();
  const options = { address: `unix://${run}/image.sock`, name: 'image', deadlineMs: 20_000 };
  images = connect(ImageServiceService, { ...options, retry: true });
  snapshots = connect(SnapshotServiceService, { ...options, retry: true });
  trees = connect(SnapshotTreeServiceService, options);
  shell(
    'mkdir -p base/bin base/data base/tmp; cp /bin/busybox base/bin/busybox; echo a > base/data/a; echo b > base/data/b',
  );
  shell('tar -C base -cf base.tar .');
  base = await importBase();
  await mount();
  const noise = 'mkdir noise; for i in $(seq 150); do head -c 20000 /dev/urandom > noise/$i; done';
  shell(`rm data/a; echo more >> data/b; mkdir new; truncate -s 4M new/sparse; ${noise}`, mounted);
});
after(async () => {
  if (skip === false) {
    shell(`umount ${mounted} || true`);
    for (const client of [images, snapshots, trees]) client[Symbol.dispose]();
    await stop('SIGTERM');
  }
  for (const path of [folder, run]) rmSync(path, { recursive: true, force: true });
});

async function importBase(): Promise<Image> {
  async function* parts() {
    yield { part: { $case: 'options' as const, value: ImportImageOptions.fromPartial({ reference: 'base:1' }) } };
    for await (const value of createReadStream(join(folder, 'base.tar'))) {
      yield { part: { $case: 'chunk' as const, value: value as Buffer } };
    }
  }
  for await (const { event } of images.importImage(parts())) if (event?.$case === 'image') return event.value;
  throw new Error('no image');
}

async function mount(): Promise<void> {
  const { mounts } = await snapshots.prepareSnapshot({ key, imageId: base.imageId });
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', mounts[0]!.options.join(','), mounted]);
}

async function commit(reference: string, signal?: AbortSignal): Promise<{ image: Image; events: string[] }> {
  const config = { cmd: ['sh'], onBuild: ['RUN x'], labels: { l: '1' } };
  const request = CommitSnapshotRequest.fromPartial({
    key,
    reference,
    config,
    author: 'a',
    comment: 'c',
    createdBy: 'd',
  });
  const events: string[] = [];
  let image: Image | undefined;
  for await (const { event } of trees.commitSnapshot(request, signal === undefined ? {} : { signal })) {
    events.push(event?.$case ?? '');
    if (event?.$case === 'image') image = event.value;
  }
  return { image: image!, events };
}

const store = (name: string) => readdirSync(join(root, 'image', name)).length;
const stored = () => ['content/blobs/sha256', 'content/ingest', 'layers'].map(store);

async function waitForStore(expected: readonly number[]): Promise<void> {
  for (let i = 0; i < 200 && stored().join() !== expected.join(); i++) await sleep(50);
  assert.deepEqual(stored(), expected);
}

/** The image as an OCI layout, for other programs. */
function layout({ manifestDigest }: Image, name: string): void {
  const blobs = join(root, 'image/content/blobs');
  const size = Number(shell(`stat -c %s ${blobs}/sha256/${manifestDigest.slice(7)}`));
  const manifest = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: manifestDigest, size };
  const annotations = { 'org.opencontainers.image.ref.name': 'x' };
  const index = JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] });
  shell(`mkdir ${name}; cp -r ${blobs} ${name}/blobs; printf '{"imageLayoutVersion":"1.0.0"}' > ${name}/oci-layout`);
  execFileSync('tee', [join(folder, name, 'index.json')], { input: index, stdio: ['pipe', 'ignore', 'inherit'] });
}

test('an image of a snapshot is read by skopeo and umoci, with its config, history and files', { skip }, async () => {
  const { image, events } = await commit('made:1');
  assert.deepEqual(events, ['captured', 'image']);
  assert.deepEqual([image.references, image.author, image.comment], [['made:1'], 'a', 'c']);
  assert.deepEqual(image.diffIds.slice(0, -1), base.diffIds);
  layout(image, 'layout');
  const config = JSON.parse(shell('skopeo inspect --config --raw oci:layout:x'));
  assert.deepEqual(config.config, { Cmd: ['sh'], Labels: { l: '1' }, OnBuild: ['RUN x'] });
  const { created, ...step } = config.history.at(-1);
  assert.deepEqual(step, { created_by: 'd', author: 'a', comment: 'c' });
  assert.equal(created, config.created);
  shell(
    'skopeo copy -q --insecure-policy oci:layout:x docker-archive:made.tar:made:2; umoci unpack --image layout:x bundle',
  );
  assert.equal(shell(`diff -r --no-dereference bundle/rootfs ${mounted}`), '');
  await images.removeImage({ image: 'made:1', force: true });
});

test('a name is taken over, and no changes make no layer', { skip }, async () => {
  await snapshots.prepareSnapshot({ key: 'idle', imageId: base.imageId });
  const request = CommitSnapshotRequest.fromPartial({ key: 'idle', reference: 'base:1' });
  let image: Image | undefined;
  for await (const { event } of trees.commitSnapshot(request)) if (event?.$case === 'image') image = event.value;
  assert.deepEqual(image?.diffIds, base.diffIds);
  assert.deepEqual(image?.references, ['base:1']);
  const { image: old } = await images.getImage({ image: base.imageId, platform: '' });
  assert.deepEqual(old?.references, []);
  await images.tagImage({ image: base.imageId, reference: 'base:1' });
  await images.removeImage({ image: image!.imageId, force: true });
  await snapshots.removeSnapshot({ key: 'idle' });
});

test('a snapshot that is removed meanwhile, or is not there, gives no image; nor does a commit that is cancelled', {
  skip,
}, async () => {
  await waitForStore([3, 0, 1]);
  await assert.rejects(Array.fromAsync(trees.commitSnapshot(CommitSnapshotRequest.fromPartial({ key: 'nothing' }))), {
    reason: 'SNAPSHOT_NOT_FOUND',
  });
  const cancel = new AbortController();
  const committing = commit('cancelled:1', cancel.signal);
  for (let i = 0; store('content/ingest') === 0 && i < 5_000; i++) await sleep(1);
  cancel.abort();
  await assert.rejects(committing);
  await waitForStore([3, 0, 1]);
  await assert.rejects(images.getImage({ image: 'cancelled:1', platform: '' }), { reason: 'IMAGE_NOT_FOUND' });
});

test('an export that nobody reads to its end leaves nothing, and another is whole', { skip }, async () => {
  const descriptors = () => readdirSync(`/proc/${service.pid}/fd`).length;
  const exportAll = async () => {
    let bytes = 0;
    for await (const { chunk } of trees.exportSnapshot({ key })) bytes += chunk.length;
    assert.ok(bytes > 6_000_000 && bytes % 512 === 0);
  };
  await exportAll(); // A thread waits for work from here on.
  const before = descriptors();
  for await (const { chunk } of trees.exportSnapshot({ key })) {
    assert.ok(chunk.length <= 1 << 20);
    break;
  }
  await exportAll();
  for (let i = 0; descriptors() > before && i < 500; i++) await sleep(20);
  assert.ok(descriptors() <= before, `${descriptors()} open files, ${before} before`);
});

test('killed in the middle of a commit, the service has all of the image afterwards, or nothing', {
  skip,
}, async () => {
  let [whole, nothing] = [0, 0];
  for (const delay of [2, 60, 250, Number.POSITIVE_INFINITY]) {
    const committing = commit('killed:1').then(
      () => true,
      (error) => (hasReason(error, 'SERVICE_UNAVAILABLE') ? false : Promise.reject(error)),
    );
    await (delay < Number.POSITIVE_INFINITY
      ? Promise.race([sleep(delay, undefined, { ref: false }), committing])
      : committing);
    await stop('SIGKILL');
    start();
    const acknowledged = await committing; // A call that did not come through finds the next process.
    const { images: found } = await images.listImages({ references: ['killed'], labels: [], dangling: false });
    assert.ok(!acknowledged || found.length === 1, 'an acknowledged image is lost');
    if (found[0] === undefined) {
      nothing++;
      await waitForStore([3, 0, 1]);
      continue;
    }
    whole++;
    await waitForStore([6, 0, 2]);
    const { mounts } = await snapshots.prepareSnapshot({ key: 'look', imageId: found[0].imageId });
    shell(`mkdir look; mount -t overlay overlay -o ${mounts[0]!.options.join(',')} look`);
    try {
      assert.equal(shell(`diff -r --no-dereference look ${mounted}`), '');
    } finally {
      shell('umount look; rmdir look');
    }
    await snapshots.removeSnapshot({ key: 'look' });
    await images.removeImage({ image: 'killed:1', force: true });
  }
  assert.ok(whole > 0 && nothing > 0, `${whole} whole, ${nothing} nothing: the kills missed the commit`);
});
