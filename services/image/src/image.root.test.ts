import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasReason } from '@flotilla/errors';
import { SnapshotServiceService } from '@flotilla/proto/flotilla/image/v1/snapshot';
import { type Image, ImageServiceService } from '@flotilla/proto/flotilla/v1/image';
import { VolumeServiceService } from '@flotilla/proto/flotilla/v1/volume';
import { type Client, connect } from '@flotilla/rpc';

// The real service in a process of its own, archives made by skopeo and umoci, overlays mounted by the kernel.
const skip =
  process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'mounts and makes devices: only root, with FLOTILLA_ROOT_TESTS=1';
const folder = mkdtempSync(join(tmpdir(), 'fl-image-'));
const run = mkdtempSync(join(tmpdir(), 'fi-'));
const root = join(folder, 'root');
const at = (name: string) => join(folder, name);
let service: ChildProcess;
let images: Client<typeof ImageServiceService>;
let snapshots: Client<typeof SnapshotServiceService>;
let volumes: Client<typeof VolumeServiceService>;

function start(extra: readonly string[] = []): void {
  const env = { ...process.env, FLOTILLA_ROOT: root, FLOTILLA_RUN: run, FLOTILLA_LOG: 'error' };
  service = spawn(process.execPath, [new URL('./main.ts', import.meta.url).pathname, ...extra], {
    env,
    stdio: 'inherit',
  });
}

async function stop(signal: NodeJS.Signals): Promise<void> {
  if (service.exitCode !== null || service.signalCode !== null) return;
  const ended = new Promise((resolve) => service.once('exit', resolve));
  service.kill(signal);
  await ended;
}

before(() => {
  if (skip !== false) return;
  mkdirSync(root);
  makeImages();
  start();
  const options = { address: `unix://${run}/image.sock`, name: 'image', deadlineMs: 20_000 };
  images = connect(ImageServiceService, options);
  snapshots = connect(SnapshotServiceService, options);
  volumes = connect(VolumeServiceService, options);
});
after(async () => {
  if (skip === false) {
    for (const client of [images, snapshots, volumes]) client[Symbol.dispose]();
    await stop('SIGTERM');
  }
  for (const path of [folder, run]) rmSync(path, { recursive: true, force: true });
});

function shell(script: string): string {
  return execFileSync('sh', ['-ec', script], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}

/** Two layers: the second hides, replaces and adds; exported in both forms. */
function makeImages(): void {
  shell(`umoci init --layout oci && umoci new --image oci:two
    umoci unpack --image oci:two bundle
    cd bundle/rootfs; mkdir -p bin etc data/sub tmp; chmod 1777 tmp
    cp /bin/busybox bin/busybox; ln bin/busybox bin/sh; setcap cap_net_raw+ep bin/busybox
    echo root:x:0:0:root:/root:/bin/sh > etc/passwd; echo keep > data/keep; echo gone > data/gone; echo hidden > data/sub/hidden
    ln -s ../etc/passwd data/link; ln -s /outside data/escape; chown 5:6 data/keep; setfattr -n user.a -v b data/keep
    find . -exec touch -h -d @1700000000 {} +
    cd ../..; umoci repack --image oci:two bundle; umoci unpack --image oci:two second
    cd second/rootfs; rm data/gone; rm -r data/sub; mkdir data/sub; echo new > data/sub/new; echo t > tmp/file
    find . -exec touch -h -d @1700000000 {} +
    cd ../..; umoci repack --image oci:two second
    umoci config --image oci:two --config.cmd sh --config.env A=b --config.label l=v --config.volume /data
    skopeo copy -q --insecure-policy oci:oci:two docker-archive:docker.tar:two:1
    skopeo copy -q --insecure-policy oci:oci:two oci-archive:oci.tar:two:2
    mv second/rootfs reference`);
}

async function* chunks(path: string) {
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) yield { chunk: chunk as Buffer };
}

async function load(path: string): Promise<Image[]> {
  const found: Image[] = [];
  for await (const { event } of images.loadImages(chunks(path))) if (event?.$case === 'image') found.push(event.value);
  return found;
}

/** Mounts a snapshot as a container would see it, looks, and takes it away again. */
async function withMounted<T>(key: string, imageId: string, look: (path: string) => T): Promise<T> {
  const { mounts } = await snapshots.prepareSnapshot({ key, imageId });
  const target = at('mounted');
  mkdirSync(target, { recursive: true });
  const [mount] = mounts;
  execFileSync('mount', ['-t', mount!.type, mount!.source, '-o', mount!.options.join(','), target]);
  try {
    return look(target);
  } finally {
    execFileSync('umount', [target]);
  }
}

const describeTree = (path: string) =>
  execFileSync(
    'sh',
    [
      '-ec',
      `find . -type d -printf '%p %y %m %U %G\\n' -o -printf '%p %y %m %U %G %Ts %l %n\\n' | sort; find . -type f | sort | xargs sha256sum; getfattr -R -h -d -m '^(user|security)' -e hex . | sort`,
    ],
    { cwd: path },
  ).toString();

test('an image loads from docker-archive and from OCI layout, and its root is the one that was packed', {
  skip,
}, async () => {
  const reference = describeTree(at('reference'));
  for (const [archive, name] of [
    ['docker.tar', 'two:1'],
    ['oci.tar', 'two:2'],
  ] as const) {
    const [image] = await load(at(archive));
    assert.ok(image !== undefined);
    assert.ok(image.references.includes(name), image.references.join());
    assert.deepEqual([image.config?.cmd, image.config?.labels, image.config?.volumes], [['sh'], { l: 'v' }, ['/data']]);
    assert.equal(await withMounted(`key-${name.replace(':', '-')}`, image.imageId, describeTree), reference);
    assert.equal(image.imageId, (await load(at(archive)))[0]?.imageId, 'loading again gives the same image');
  }
  const { images: all } = await images.listImages({ references: ['two'], labels: ['l=v'], dangling: false });
  assert.deepEqual(
    all.flatMap(({ references }) => references),
    ['two:1', 'two:2'],
  );
});

test('gzip and zstd archives load too, and layers are shared', { skip }, async () => {
  shell('gzip -k docker.tar; zstd -q docker.tar');
  const before = readdirSync(join(root, 'image/layers')).length;
  for (const name of ['docker.tar.gz', 'docker.tar.zst']) assert.equal((await load(at(name))).length, 1);
  assert.equal(readdirSync(join(root, 'image/layers')).length, before);
});

test('a snapshot keeps what is written, is removed once, and the root stays clean', { skip }, async () => {
  const [image] = await load(at('docker.tar'));
  await withMounted('writes', image!.imageId, (path) => writeFileSync(join(path, 'written'), 'x'));
  await withMounted('writes', image!.imageId, (path) => assert.equal(readFileSync(join(path, 'written'), 'utf8'), 'x'));
  await withMounted('other', image!.imageId, (path) => assert.ok(!existsSync(join(path, 'written'))));
  await snapshots.removeSnapshot({ key: 'writes' });
  await snapshots.removeSnapshot({ key: 'writes' });
  assert.ok(!(await snapshots.listSnapshots({})).keys.includes('writes'));
  await assert.rejects(snapshots.getSnapshotMounts({ key: 'writes' }), { reason: 'SNAPSHOT_NOT_FOUND' });
  await assert.rejects(snapshots.prepareSnapshot({ key: '../x', imageId: image!.imageId }), {
    reason: 'INVALID_FIELD',
  });
});

test('a file is read within the root, links included, and nothing else', { skip }, async () => {
  const [image] = await load(at('docker.tar'));
  await snapshots.prepareSnapshot({ key: 'files', imageId: image!.imageId });
  const read = async (path: string) => {
    const { found, data } = await snapshots.readSnapshotFile({ key: 'files', path });
    return found ? data.toString() : undefined;
  };
  assert.match((await read('/data/link')) ?? '', /^root:x:0:0/);
  for (const path of ['/data/escape', '/data/gone', '/data/sub/hidden', '/data', '/nothing', '/proc/self/environ']) {
    assert.equal(await read(path), undefined, path);
  }
});

test('volumes are filled from the image once, kept while used, and anonymous ones go with their container', {
  skip,
}, async () => {
  const [image] = await load(at('docker.tar'));
  for (const key of ['v1', 'v2']) await snapshots.prepareSnapshot({ key, imageId: image!.imageId });
  const plain = { driver: '', options: {}, labels: {}, inherited: false };
  const wish = [
    { ...plain, name: 'named', target: '/data', noCopy: false },
    { ...plain, name: '', target: '/data', noCopy: true },
  ];
  const { volumes: first } = await snapshots.prepareVolumes({ key: 'v1', volumes: wish });
  assert.deepEqual((await snapshots.prepareVolumes({ key: 'v1', volumes: wish })).volumes, first, 'idempotent by key');
  const [named, anonymous] = first;
  assert.equal(describeTree(named!.path), describeTree(at('reference/data')));
  assert.deepEqual(readdirSync(anonymous!.path), []);
  rmSync(join(named!.path, 'keep'));
  await snapshots.prepareVolumes({ key: 'v2', volumes: [wish[0]!] });
  assert.ok(!existsSync(join(named!.path, 'keep')), 'filled a second time');
  await assert.rejects(volumes.removeVolume({ name: 'named', force: false }), { reason: 'VOLUME_IN_USE' });
  for (const key of ['v1', 'v2']) await snapshots.releaseVolumes({ key, removeAnonymous: true });
  assert.deepEqual(
    (await volumes.listVolumes({ names: [], labels: [], drivers: [] })).volumes.map(({ name }) => name),
    ['named'],
  );
  await volumes.removeVolume({ name: 'named', force: false });
  await assert.rejects(volumes.removeVolume({ name: 'named', force: false }), { reason: 'VOLUME_NOT_FOUND' });
});

test('a root file system is imported with its settings', { skip }, async () => {
  shell('tar -C reference --numeric-owner -czf root.tar.gz .');
  async function* parts() {
    const options = {
      reference: 'imported:1',
      config: { ...emptyConfig, cmd: ['sh', '-c', 'x'], env: ['B=c'] },
      message: 'by hand',
      platform: '',
    };
    yield { part: { $case: 'options' as const, value: options } };
    for await (const { chunk } of chunks(at('root.tar.gz'))) yield { part: { $case: 'chunk' as const, value: chunk } };
  }
  let image: Image | undefined;
  for await (const { event } of images.importImage(parts())) if (event?.$case === 'image') image = event.value;
  assert.deepEqual(
    [image?.references, image?.config?.cmd, image?.config?.env],
    [['imported:1'], ['sh', '-c', 'x'], ['B=c']],
  );
  await withMounted('imported', image!.imageId, (path) =>
    assert.equal(readFileSync(join(path, 'data/sub/new'), 'utf8'), 'new\n'),
  );
  const { entries } = await images.getImageHistory({ image: 'imported:1' });
  assert.equal(entries[0]?.comment, 'by hand');
});
const emptyConfig = {
  user: '',
  exposedPorts: [],
  env: [],
  entrypoint: [],
  cmd: [],
  volumes: [],
  workingDir: '',
  labels: {},
  stopSignal: '',
  healthcheck: undefined,
  shell: [],
  onBuild: [],
};

test('references are given and taken; an image in use stays; the last reference takes all with it', {
  skip,
}, async () => {
  const [image] = await load(at('docker.tar'));
  await images.tagImage({ image: 'two:1', reference: 'other' });
  assert.equal((await images.getImage({ image: 'other:latest', platform: '' })).image?.imageId, image?.imageId);
  assert.equal(
    (await images.getImage({ image: image!.imageId.slice(7, 19), platform: '' })).image?.imageId,
    image?.imageId,
  );
  await assert.rejects(images.getImage({ image: 'nothing', platform: '' }), { reason: 'IMAGE_NOT_FOUND' });
  assert.deepEqual((await images.removeImage({ image: 'other', force: false })).untagged, ['other:latest']);
  await images.removeImage({ image: 'two:2', force: false });
  const { keys } = await snapshots.listSnapshots({});
  await assert.rejects(images.removeImage({ image: 'two:1', force: true }), { reason: 'IMAGE_IN_USE' });
  for (const key of keys) await snapshots.removeSnapshot({ key });
  for (const { imageId } of (await images.listImages({ references: [], labels: [], dangling: true })).images) {
    await images.removeImage({ image: imageId, force: true });
  }
  await sleep(300);
  assert.deepEqual(readdirSync(join(root, 'image/content/blobs/sha256')), []);
  assert.deepEqual(readdirSync(join(root, 'image/layers')), []);
});

const reasons: readonly (readonly [string, string, string])[] = [
  ['truncated', 'head -c 200000 docker.tar > bad.tar', 'ARCHIVE_TRUNCATED'],
  ['truncated gzip', 'head -c 100000 docker.tar.gz > bad.tar', 'ARCHIVE_TRUNCATED'],
  ['empty', ': > bad.tar', 'ARCHIVE_TRUNCATED'],
  ['not a tar', 'head -c 100000 /dev/urandom > bad.tar', 'ARCHIVE_NOT_TAR'],
  ['a page of HTML', 'yes "<html>" | head -c 100000 > bad.tar', 'ARCHIVE_NOT_TAR'],
  ['a root file system', 'tar -C reference -cf bad.tar .', 'ARCHIVE_NOT_IMAGE'],
  [
    'a missing blob',
    'rm -rf x; mkdir x; tar -C x -xf oci.tar; rm "x/$(cd x; ls -S blobs/sha256/* | head -1)"; tar -C x -cf bad.tar .',
    'BLOB_MISSING',
  ],
  ['a missing layer', 'rm -rf x; mkdir x; tar -C x -xf docker.tar; rm x/*.tar; tar -C x -cf bad.tar .', 'BLOB_MISSING'],
  [
    'a blob that is not its digest',
    'rm -rf x; mkdir x; tar -C x -xf oci.tar; echo >> "x/$(cd x; ls -S blobs/sha256/* | head -1)"; tar -C x -cf bad.tar .',
    'DIGEST_MISMATCH',
  ],
  [
    'a layer that is not its diff id',
    'rm -rf x; mkdir x; tar -C x -xf docker.tar; for l in x/*.tar; do tar -C reference -cf "$l" etc; done; tar -C x -cf bad.tar .',
    'DIGEST_MISMATCH',
  ],
  [
    'a manifest that is not JSON',
    'rm -rf x; mkdir x; tar -C x -xf docker.tar; echo nonsense > x/manifest.json; tar -C x -cf bad.tar .',
    'DOCUMENT_INVALID',
  ],
];
for (const [name, script, reason] of reasons) {
  test(`refused, and nothing left: ${name}`, { skip }, async () => {
    shell(script);
    await assert.rejects(load(at('bad.tar')), { reason });
    await sleep(50);
    assert.deepEqual(readdirSync(join(root, 'image/content/blobs/sha256')), []);
    assert.deepEqual(readdirSync(join(root, 'image/content/ingest')), []);
    for (let i = 0; i < 400 && readdirSync(join(root, 'image/layers')).length > 0; i++) await sleep(50);
    assert.deepEqual(readdirSync(join(root, 'image/layers')), []);
    assert.deepEqual((await images.listImages({ references: [], labels: [], dangling: true })).images, []);
  });
}

test('killed in the middle of a load, the service has all of the image afterwards, or nothing', { skip }, async () => {
  shell(
    'mkdir -p big; for i in $(seq 1 400); do head -c 20000 /dev/urandom > big/$i; done; umoci insert --image oci:two big /big && skopeo copy -q --insecure-policy oci:oci:two docker-archive:big.tar:big:1',
  );
  let [whole, nothing] = [0, 0];
  for (const delay of [5, 40, 80, 120, 200, 400, 60_000]) {
    const loading = load(at('big.tar')).then(
      () => true,
      (error) => (hasReason(error, 'SERVICE_UNAVAILABLE') ? false : Promise.reject(error)),
    );
    await Promise.race([sleep(delay, undefined, { ref: false }), loading]); // the longest would keep this process
    await stop('SIGKILL');
    const acknowledged = await loading;
    start();
    const { images: found } = await images.listImages({ references: [], labels: [], dangling: true });
    if (delay === 60_000) assert.ok(acknowledged, 'it was given time enough');
    assert.ok(!acknowledged || found.length === 1, 'an acknowledged image is lost');
    if (found[0] === undefined) {
      nothing++;
      assert.deepEqual(readdirSync(join(root, 'image/content/ingest')), []);
      continue;
    }
    whole++;
    await withMounted('big', found[0].imageId, (path) => assert.equal(readdirSync(join(path, 'big')).length, 400));
    await snapshots.removeSnapshot({ key: 'big' });
    await images.removeImage({ image: 'big:1', force: true });
  }
  assert.ok(whole > 0 && nothing > 0, `${whole} whole, ${nothing} nothing: the kills missed the load`);
});

test('a layer that leaves its root is refused by name, with the layer', { skip }, async () => {
  shell(`rm -rf x evil; mkdir x evil; tar -C x -xf docker.tar; echo x > evil/f
    tar -C evil -P --transform 's,^f,../../escaped,' -cf "x/$(cd x; ls *.tar | head -1)" f; tar -C x -cf bad.tar .`);
  await assert.rejects(load(at('bad.tar')), (error: { reason: string; metadata: Record<string, string> }) => {
    assert.equal(error.reason, 'LAYER_ENTRY_REFUSED');
    assert.equal(error.metadata.entry, '../../escaped');
    assert.match(error.metadata.layer ?? '', /^sha256:/);
    return true;
  });
  assert.equal(execFileSync('find', [root, folder, '-name', 'escaped']).toString(), '');
});
