import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { ImageProcess } from '../registry/testing/image-process.ts';
import { describeTree, makeSample, shell } from '../registry/testing/sample-images.ts';

// Archives written by the real service, read by itself, by skopeo and by tar.
const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'unpacks layers: only root, with FLOTILLA_ROOT_TESTS=1';
const folder = mkdtempSync(join(tmpdir(), 'fl-save-'));
const at = (name: string) => join(folder, name);
const stack = new AsyncDisposableStack();
let service: ImageProcess;
/** Where archives are loaded. */
let elsewhere: ImageProcess;
let reference: string;

before(async () => {
  if (skip !== false) return;
  makeSample(folder);
  reference = describeTree(at('reference'));
  // Two images with layers in common, and one of Docker's own kind.
  shell(
    folder,
    `umoci config --image oci:sample --tag other --config.cmd other
    skopeo copy -q --insecure-policy oci:oci:sample oci-archive:sample.tar:a.test/team/app:1
    skopeo copy -q --insecure-policy oci:oci:other oci-archive:other.tar:a.test/team/app:2
    skopeo copy -q --insecure-policy oci:oci:sample docker-archive:docker.tar:third:latest`,
  );
  [service, elsewhere] = [stack.use(new ImageProcess([])), stack.use(new ImageProcess([]))];
  for (const name of ['sample.tar', 'other.tar']) await service.load(at(name));
});
afterEach(() => elsewhere?.removeAll());
after(async () => {
  await stack.disposeAsync();
  rmSync(folder, { recursive: true, force: true });
});

const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
const known = async (of: ImageProcess) =>
  (await of.images.listImages({ references: [], labels: [], dangling: true })).images
    .map(({ imageId, manifestDigest, references }) => ({ imageId, manifestDigest, references }))
    .sort((a, b) => (a.imageId < b.imageId ? -1 : 1));

test('several images in one archive: twice the same bytes, and loaded elsewhere the same images', {
  skip,
}, async () => {
  const names = ['a.test/team/app:1', 'a.test/team/app:2'];
  await service.images.tagImage({ image: 'a.test/team/app:1', reference: 'busy' });
  await service.save(at('one.saved'), [...names, 'busy']);
  await service.save(at('two.saved'), [...names, 'busy']);
  assert.equal(sha256(at('one.saved')), sha256(at('two.saved')));
  const entries = shell(folder, 'tar -tf one.saved').trim().split('\n');
  assert.deepEqual(entries.slice(0, 3), ['oci-layout', 'index.json', 'manifest.json']);
  assert.equal(
    entries.filter((name) => /^blobs\/sha256\/[0-9a-f]{64}$/.test(name)).length,
    7,
    'common blobs stand once',
  );
  const loaded = await elsewhere.load(at('one.saved'));
  assert.equal(loaded.length, 2, 'an image with two names is one');
  assert.deepEqual(await known(elsewhere), await known(service));
  const { imageId } = loaded[0]!;
  assert.equal(await elsewhere.withMounted(imageId, describeTree), reference);
  await elsewhere.save(at('three.saved'), [...names, 'busy']);
  assert.equal(sha256(at('three.saved')), sha256(at('one.saved')), 'what was loaded is saved as the same bytes again');
  await service.images.removeImage({ image: 'busy', force: false });
});

test('skopeo reads it as a docker-archive and as an OCI layout, with the digests that we say', { skip }, async () => {
  await service.save(at('both'), ['a.test/team/app']);
  const [first] = (await service.images.listImages({ references: ['a.test/team/app:1'], labels: [], dangling: false }))
    .images;
  const inspected = (source: string) =>
    JSON.parse(shell(folder, `skopeo inspect --insecure-policy ${source}`)) as { Digest: string; Layers: string[] };
  assert.equal(inspected('oci-archive:both:1').Digest, first!.manifestDigest);
  shell(folder, 'mkdir layout; tar -C layout -xf both; umoci unpack --image layout:1 unpacked');
  assert.equal(describeTree(at('unpacked/rootfs')), reference);
  shell(folder, 'skopeo copy -q --insecure-policy docker-archive:both:a.test/team/app:2 dir:taken');
  const manifest = JSON.parse(readFileSync(at('taken/manifest.json'), 'utf8')) as { config: { digest: string } };
  assert.equal(
    manifest.config.digest,
    (await service.images.getImage({ image: 'a.test/team/app:2', platform: '' })).image?.imageId,
  );
});

test('an image of Docker’s kind of archive, by id: without a name, the same id', { skip }, async () => {
  const [image] = await service.load(at('docker.tar'));
  await service.save(at('byid'), [image!.imageId]);
  const [loaded] = await elsewhere.load(at('byid'));
  assert.deepEqual([loaded?.imageId, loaded?.references], [image?.imageId, []]);
  assert.equal(loaded?.manifestDigest, image?.manifestDigest);
});

test('what is not there, or nothing at all, is refused before a byte comes', { skip }, async () => {
  for (const [references, reason] of [
    [['a.test/team/app:1', 'no/such:1'], 'IMAGE_NOT_FOUND'],
    [[], 'INVALID_FIELD'],
    [['Not/Valid'], 'INVALID_FIELD'],
  ] as const) {
    let bytes = 0;
    await assert.rejects(
      async () => {
        for await (const { chunk } of service.images.saveImages({ references: [...references] })) bytes += chunk.length;
      },
      { reason },
    );
    assert.equal(bytes, 0);
  }
});

test('an image that is removed while it is saved is saved whole; a reader who leaves leaves nothing', {
  skip,
}, async () => {
  await elsewhere.load(at('sample.tar'));
  const stream = elsewhere.images.saveImages({ references: ['a.test/team/app:1'] })[Symbol.asyncIterator]();
  const first = await stream.next();
  writeFileSync(at('removed'), first.done === true ? '' : first.value.chunk);
  await elsewhere.images.removeImage({ image: 'a.test/team/app:1', force: false });
  for await (const { chunk } of { [Symbol.asyncIterator]: () => stream }) appendFileSync(at('removed'), chunk);
  const [again] = await service.load(at('removed'));
  assert.ok(again?.references.includes('a.test/team/app:1'));
  await elsewhere.load(at('sample.tar'));
  for await (const _ of elsewhere.images.saveImages({ references: ['a.test/team/app:1'] })) break;
  await elsewhere.removeAll();
  assert.deepEqual(await elsewhere.leftovers(), []);
});

test('a blob that the disk has changed is not passed on as if it were whole', { skip }, async () => {
  await elsewhere.load(at('sample.tar'));
  const blobs = join(elsewhere.root, 'image/content/blobs/sha256');
  const largest = readdirSync(blobs)
    .map((name) => ({ path: join(blobs, name), bytes: readFileSync(join(blobs, name)) }))
    .sort((a, b) => b.bytes.length - a.bytes.length)[0]!;
  largest.bytes[1000] = (largest.bytes[1000] ?? 0) ^ 1;
  writeFileSync(largest.path, largest.bytes);
  await assert.rejects(elsewhere.save(at('damaged'), ['a.test/team/app:1']), { reason: 'BLOB_DAMAGED' });
  writeFileSync(largest.path, largest.bytes.subarray(1));
  await assert.rejects(elsewhere.save(at('damaged'), ['a.test/team/app:1']), { reason: 'BLOB_DAMAGED' });
});
