import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlotillaError } from '@flotilla/errors';
import { SnapshotServiceService } from '@flotilla/proto/flotilla/image/v1/snapshot';
import { VolumeServiceService } from '@flotilla/proto/flotilla/v1/volume';
import { type Client, connect } from '@flotilla/rpc';

// The real service in a process of its own, killed at will; the kernel's list of mounts says what is mounted.
const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'mounts: only root, with FLOTILLA_ROOT_TESTS=1';
const hasNfs = /\bnfs4?$/m.test(readFileSync('/proc/filesystems', 'utf8'));
const folder = mkdtempSync(join(tmpdir(), 'fl-volumes-'));
const run = mkdtempSync(join(tmpdir(), 'fv-'));
const device = join(folder, 'device');
let service: ChildProcess;
let snapshots: Client<typeof SnapshotServiceService>;
let volumes: Client<typeof VolumeServiceService>;

function start(): void {
  const env = { ...process.env, FLOTILLA_ROOT: folder, FLOTILLA_RUN: run, FLOTILLA_LOG: 'error' };
  service = spawn(process.execPath, [new URL('./main.ts', import.meta.url).pathname], { env, stdio: 'inherit' });
}

async function stop(signal: NodeJS.Signals): Promise<void> {
  const ended = once(service, 'exit');
  service.kill(signal);
  await ended;
}

/** Another process, after the last was killed. */
async function killed(meanwhile: () => void = () => {}): Promise<void> {
  await stop('SIGKILL');
  meanwhile();
  start();
  await answers(() => volumes.listVolumes({ names: [], labels: [], drivers: [] }));
  await answers(() => snapshots.listSnapshots({}));
}

/** The first call over a connection that was cut may fail. */
async function answers(call: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await call();
      return;
    } catch (error) {
      if (attempt === 100 || !(error instanceof FlotillaError) || error.code !== 'unavailable') throw error;
    }
    await sleep(50);
  }
}

before(() => {
  if (skip !== false) return;
  mkdirSync(device);
  start();
  const options = { address: `unix://${run}/image.sock`, name: 'image', deadlineMs: 20_000 };
  snapshots = connect(SnapshotServiceService, options);
  volumes = connect(VolumeServiceService, options);
});
after(async () => {
  if (skip === false) {
    for (const client of [snapshots, volumes]) client[Symbol.dispose]();
    await stop('SIGTERM');
    for (const path of mounted().reverse()) execFileSync('umount', [path]);
  }
  for (const path of [folder, run]) rmSync(path, { recursive: true, force: true });
});

/** Where something is mounted in the service's folder. */
function mounted(): string[] {
  const points = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return points.map((line) => line.split(' ')[4] ?? '').filter((path) => path.startsWith(folder));
}

const create = (name: string, options: Record<string, string> = {}) =>
  volumes.createVolume({ name, driver: '', options, labels: {} });
const pathOf = async (name: string) => (await volumes.getVolume({ name })).volume!.mountpoint;

/** A container takes a volume; without a snapshot of its own, since nothing is copied. */
async function take(key: string, ...names: readonly string[]): Promise<void> {
  const plain = { target: '/data', noCopy: true, driver: '', options: {}, labels: {}, inherited: false };
  await snapshots.prepareVolumes({ key, volumes: names.map((name) => ({ ...plain, name })) });
}
const mount = (key: string, ...names: readonly string[]) =>
  snapshots.mountVolumes({
    key,
    volumes: names.map((name) => ({ name, target: '/data', readOnly: false, propagation: '' })),
  });
const unmount = (key: string) => snapshots.unmountVolumes({ key });
const release = (key: string, removeAnonymous = true) => snapshots.releaseVolumes({ key, removeAnonymous });

/** Actions on a volume that were announced, in order: nothing takes them out of the outbox here. */
function actionsOn(name: string): string[] {
  using database = new DatabaseSync(join(folder, 'image/image.db'), { readOnly: true });
  const rows = database.prepare('SELECT payload FROM outbox ORDER BY sequence').all() as { payload: string }[];
  return rows
    .map(({ payload }) => (JSON.parse(payload) as { data: { actorId: string; action: string } }).data)
    .filter(({ actorId }) => actorId === name)
    .map(({ action }) => action);
}

test('a volume in memory is mounted for the first container and goes with the last', { skip }, async () => {
  await create('memory', { type: 'tmpfs', device: 'tmpfs', o: 'size=64k,mode=0751' });
  const path = await pathOf('memory');
  for (const key of ['a', 'b']) await take(key, 'memory');
  assert.deepEqual(mounted(), [], 'mounted before anything runs');
  await mount('a', 'memory');
  await mount('a', 'memory');
  writeFileSync(join(path, 'file'), 'kept');
  await mount('b', 'memory');
  assert.deepEqual(mounted(), [path], 'mounted once');
  assert.equal(statSync(path).mode & 0o7777, 0o751);
  await unmount('a');
  assert.equal(readFileSync(join(path, 'file'), 'utf8'), 'kept');
  await assert.rejects(volumes.removeVolume({ name: 'memory', force: true }), { reason: 'VOLUME_IN_USE' });
  await unmount('b');
  await unmount('b');
  assert.deepEqual(mounted(), []);
  assert.deepEqual(readdirSync(path), []);
  for (const key of ['a', 'b']) await release(key);
  await volumes.removeVolume({ name: 'memory', force: false });
  assert.deepEqual(actionsOn('memory'), ['create', 'mount', 'mount', 'unmount', 'unmount', 'destroy']);
});

test('a killed service finds what runs mounted, and takes away what nobody runs with', { skip }, async () => {
  await create('kept', { type: 'tmpfs', device: 'tmpfs' });
  await create('left', { type: 'none', o: 'bind', device });
  const [kept, left] = [await pathOf('kept'), await pathOf('left')];
  await take('c', 'kept', 'left');
  await mount('c', 'kept');
  writeFileSync(join(kept, 'file'), 'kept');
  await killed(() => execFileSync('mount', ['--bind', device, left]));
  assert.deepEqual(mounted(), [kept]);
  assert.equal(readFileSync(join(kept, 'file'), 'utf8'), 'kept');
  assert.deepEqual((await snapshots.listVolumeMounts({})).keys, ['c']);
  // As after a boot: what is written down is mounted no more. It is mounted when the container is started.
  await killed(() => execFileSync('umount', [kept]));
  await mount('c', 'kept');
  assert.deepEqual(mounted(), [kept]);
  await release('c');
  assert.deepEqual(mounted(), [], 'a container that is removed runs no more');
  assert.deepEqual((await snapshots.listVolumeMounts({})).keys, []);
});

test('a new volume is open to every user of a container, and a bind of it keeps what was asked for', {
  skip,
}, async () => {
  await create('open');
  assert.equal(statSync(await pathOf('open')).mode & 0o777, 0o755);
  await create('careful', { type: 'none', device, o: 'bind,nosuid,nodev,noexec' });
  const path = await pathOf('careful');
  await take('n', 'careful');
  await mount('n', 'careful');
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((one) => one.split(' ')[4] === path);
  assert.match(line ?? '', / rw,nosuid,nodev,noexec[ ,]/);
  await unmount('n');
  await release('n');
});

test('a folder of the host is what a bind volume holds, read-only if asked; its data outlives the volume', {
  skip,
}, async () => {
  writeFileSync(join(device, 'mine'), 'mine');
  await create('bound', { type: 'none', o: 'bind,ro', device });
  const path = await pathOf('bound');
  await take('d', 'bound');
  await mount('d', 'bound');
  assert.deepEqual(readdirSync(path), ['mine']);
  assert.throws(() => writeFileSync(join(path, 'x'), ''), { code: 'EROFS' });
  await release('d');
  // Somebody mounts it by hand: what is mounted there is not the volume's own.
  execFileSync('mount', ['--bind', device, path]);
  await volumes.removeVolume({ name: 'bound', force: false });
  assert.deepEqual(mounted(), []);
  assert.equal(readFileSync(join(device, 'mine'), 'utf8'), 'mine');
});

test('what cannot be mounted is told, and leaves nothing done', { skip }, async () => {
  await create('fine', { type: 'tmpfs', device: 'tmpfs' });
  await create('missing', { type: 'none', o: 'bind', device: '/nonexistent/folder' });
  await take('e', 'fine', 'missing');
  await assert.rejects(mount('e', 'fine', 'missing'), {
    reason: 'VOLUME_MOUNT_FAILED',
    message: /volume missing could not be mounted \(\/nonexistent\/folder, none\): .*ENOENT/,
  });
  assert.deepEqual(mounted(), []);
  assert.deepEqual((await snapshots.listVolumeMounts({})).keys, []);
  assert.deepEqual(actionsOn('fine'), ['create']);
  await release('e');
});

test('a network file system that the kernel lacks is named', {
  skip: skip || (hasNfs ? 'this kernel has an NFS client: nothing is missing' : false),
}, async () => {
  await create('remote', { type: 'nfs', device: ':/export', o: 'addr=127.0.0.1,nfsvers=4,soft' });
  await take('f', 'remote');
  await assert.rejects(mount('f', 'remote'), {
    reason: 'VOLUME_MOUNT_FAILED',
    message: /this kernel has no file system nfs/,
  });
  await release('f');
});

const nfsExport = process.env.FLOTILLA_TEST_NFS ?? '';
test('an NFS volume of a server is mounted, and what is written there is there the next time', {
  skip:
    skip ||
    (!hasNfs && 'not tested: this kernel has no NFS client') ||
    (nfsExport === '' && 'not tested: no NFS server is known, FLOTILLA_TEST_NFS=ADDRESS:/EXPORT names one'),
}, async () => {
  const [address = '', path = ''] = nfsExport.split(/:(?=\/)/);
  await create('served', { type: 'nfs', device: `:${path}`, o: `addr=${address},soft` });
  const file = join(await pathOf('served'), 'flotilla-test');
  for (const key of ['first', 'second']) {
    await take(key, 'served');
    await mount(key, 'served');
    assert.deepEqual(mounted(), [dirname(file)]);
    if (key === 'first') writeFileSync(file, 'kept by the server');
    assert.equal(readFileSync(file, 'utf8'), 'kept by the server');
    if (key === 'second') rmSync(file);
    await unmount(key);
    assert.deepEqual(mounted(), []);
    await release(key);
  }
  await volumes.removeVolume({ name: 'served', force: false });
});

test('an anonymous volume goes with the last container that has it, unless one asked for it by name', {
  skip,
}, async () => {
  const plain = { target: '/data', noCopy: true, driver: '', options: {}, labels: {}, inherited: false };
  const { volumes: made } = await snapshots.prepareVolumes({ key: 'g', volumes: [{ ...plain, name: '' }] });
  const { name } = made[0]!;
  await snapshots.prepareVolumes({ key: 'h', volumes: [{ ...plain, name, inherited: true }] });
  await release('g');
  await volumes.getVolume({ name });
  await release('h');
  await assert.rejects(volumes.getVolume({ name }), { reason: 'VOLUME_NOT_FOUND' });
  await assert.rejects(
    snapshots.prepareVolumes({ key: 'h', volumes: [{ ...plain, name: 'nobody', inherited: true }] }),
    { reason: 'VOLUME_NOT_FOUND' },
  );
  const anonymous = (await create('')).volume!;
  await take('i', anonymous.name);
  await release('i');
  await volumes.removeVolume({ name: anonymous.name, force: false });
});

test('lists tell by use, driver, label and part of a name', { skip }, async () => {
  await volumes.createVolume({ name: 'list-one', driver: 'local', options: {}, labels: { tier: 'db', empty: '' } });
  await create('list-two');
  await take('j', 'list-two');
  const list = async (filter: object) =>
    (await volumes.listVolumes({ names: ['list-'], labels: [], drivers: [], ...filter })).volumes.map(
      ({ name }) => name,
    );
  assert.deepEqual(await list({}), ['list-one', 'list-two']);
  assert.deepEqual(await list({ dangling: true }), ['list-one']);
  assert.deepEqual(await list({ dangling: false }), ['list-two']);
  assert.deepEqual(await list({ labels: ['tier=db', 'empty'] }), ['list-one']);
  assert.deepEqual(await list({ drivers: ['nfs'] }), []);
  await assert.rejects(create('list-one', { type: 'tmpfs', device: 'x' }), { reason: 'VOLUME_DIFFERS' });
  await assert.rejects(volumes.createVolume({ name: 'x', driver: 'nfs', options: {}, labels: {} }), {
    reason: 'INVALID_FIELD',
  });
  await release('j');
});
