import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  ContainerConfig,
  DeepPartial,
  WriteArchiveOptions,
  WriteArchiveRequest,
} from '@flotilla/proto/flotilla/v1/container';
import { aConfig } from './testing/builders.ts';
import { TestEngine } from './testing/test-engine.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'makes containers: set FLOTILLA_ROOT_TESTS=1 as root';
let engine: TestEngine;
let folder: string;

before(async () => {
  if (skip !== false) return;
  folder = mkdtempSync('/tmp/fl-cp-');
  engine = new TestEngine();
  await engine.start();
});

after(async () => {
  await engine?.[Symbol.asyncDispose]();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

async function create(config: DeepPartial<ContainerConfig> = {}): Promise<string> {
  const request = { config: aConfig({ networkMode: 'none', ...config }), name: '', idempotencyKey: '' };
  return (await engine.containers.createContainer(request)).containerId;
}

const start = (container: string) => engine.containers.startContainer({ container });
const remove = (container: string) =>
  engine.containers.removeContainer({ container, force: true, removeVolumes: true });

/** A container that runs until it is removed. */
async function running(config: DeepPartial<ContainerConfig> = {}): Promise<string> {
  const container = await create({ command: ['sleep', '1000'], ...config });
  await start(container);
  return container;
}

async function read(container: string, path: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const { chunk } of engine.containers.readArchive({ container, path })) pieces.push(chunk);
  return Buffer.concat(pieces);
}

const stat = async (container: string, path: string) =>
  (await engine.containers.statArchive({ container, path })).stat!;

async function write(container: string, path: string, tar: Buffer, options: Partial<WriteArchiveOptions> = {}) {
  async function* requests(): AsyncGenerator<WriteArchiveRequest> {
    const value = { container, path, noOverwriteDirNonDir: false, copyUidGid: false, ...options };
    yield { part: { $case: 'options', value } };
    for (let at = 0; at < tar.length; at += 1 << 20) {
      yield { part: { $case: 'chunk', value: tar.subarray(at, at + (1 << 20)) } };
    }
  }
  await engine.containers.writeArchive(requests());
}

function tar(...args: string[]): Buffer {
  const { stdout, stderr, status } = spawnSync('tar', args, { maxBuffer: 64 << 20 });
  assert.equal(status, 0, String(stderr));
  return stdout;
}

/** Names in a tar, as tar(1) shows them. */
function list(archive: Buffer): string[] {
  const { stdout, status } = spawnSync('tar', ['-tf', '-'], { input: archive });
  assert.equal(status, 0);
  return stdout.toString().split('\n').filter(Boolean);
}

function content(archive: Buffer, name: string): string {
  return spawnSync('tar', ['-xOf', '-', name], { input: archive }).stdout.toString();
}

/** A folder with a file in it, as a tar whose entries are named `name`. */
function oneFile(name: string, text: string): Buffer {
  const source = mkdtempSync(join(folder, 'one-'));
  mkdirSync(join(source, name, '..'), { recursive: true });
  writeFileSync(join(source, name), text);
  return tar('-C', source, '-cf', '-', name);
}

/** What is mounted on the host for this engine: nothing, ever. */
function hostMounts(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(join(engine.folder, 'root')));
}

test('what is copied into a container and out of it is the same, running or not', { skip }, async () => {
  const source = join(folder, 'tree');
  mkdirSync(join(source, 'sub/empty'), { recursive: true });
  writeFileSync(join(source, 'sub/file'), 'text', { mode: 0o640 });
  linkSync(join(source, 'sub/file'), join(source, 'sub/again'));
  symlinkSync('../nowhere', join(source, 'sub/link'));
  writeFileSync(join(source, `${'long'.repeat(60)}`), 'long');
  writeFileSync(join(source, 'grüße'), 'umlaut');
  spawnSync('mknod', [join(source, 'null'), 'c', '1', '3']);
  spawnSync('mkfifo', [join(source, 'fifo')]);
  spawnSync('dd', ['if=/dev/zero', `of=${join(source, 'sparse')}`, 'bs=1', 'count=1', 'seek=3M']);
  spawnSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(source, 'sub/file')]);
  chmodSync(join(source, 'sub'), 0o2751);
  chownSync(join(source, 'sub/file'), 1234, 4321);
  utimesSync(join(source, 'sub/empty'), 1_000_000_000.25, 1_000_000_000.25);
  const archive = tar('--xattrs', '-S', '--format=pax', '-C', folder, '-cf', '-', 'tree');
  const there = describe(source);
  for (const container of [await running(), await create()]) {
    await write(container, '/tmp', archive);
    const back = mkdtempSync(join(folder, 'back-'));
    const got = await read(container, '/tmp/tree');
    spawnSync('tar', ['--xattrs', '--xattrs-include=user.*', '-C', back, '-xpf', '-'], { input: got });
    assert.deepEqual(describe(join(back, 'tree')), there);
    await remove(container);
  }
  assert.deepEqual(hostMounts(), []);
});

/** All that cp has to keep: type, mode, owner, time, links, device, content. */
function describe(root: string): string[] {
  const { stdout } = spawnSync('find', ['.', '-printf', '%p %y %m %U %G %n %T@ %l\\n'], { cwd: root });
  const sums = spawnSync(
    'sh',
    ['-c', 'find . -type f -exec sha256sum {} + ; getfattr -R -P -d . ; stat -c %t:%T null'],
    {
      cwd: root,
    },
  );
  return [...stdout.toString().split('\n').sort(), ...sums.stdout.toString().split('\n').sort()];
}

test('a path is told as Docker tells it, and names the entries of its tar', { skip }, async () => {
  const container = await create();
  assert.deepEqual(
    [await stat(container, '/etc/passwd')].map(({ name, sizeBytes, mode }) => [name, sizeBytes, mode]),
    [['passwd', BigInt('root:x:0:0::/root:/bin/sh\nwww:x:33:33::/tmp:/bin/sh\n'.length), 0o100644]],
  );
  await write(container, '/', tar('-C', linkFarm(), '-cf', '-', '.'));
  const link = await stat(container, 'up/../links/abs');
  assert.deepEqual([link.name, link.mode & 0o170000, link.linkTarget], ['abs', 0o120000, '/etc/passwd']);
  assert.equal((await stat(container, '/links/broken')).linkTarget, '/links/not/there');
  assert.equal((await stat(container, '/links/out')).linkTarget, '/etc');
  assert.equal((await stat(container, '/links/out')).mode & 0o170000, 0o120000);
  assert.equal((await stat(container, '/links/out/')).mode & 0o170000, 0o040000);
  assert.deepEqual(list(await read(container, '/links/out/')).slice(0, 2), ['out/', 'out/group']);
  assert.deepEqual(list(await read(container, '/links/out')), ['out']);
  assert.deepEqual(list(await read(container, '/links/.')).slice(0, 2), ['./', './abs']);
  assert.deepEqual(list(await read(container, '/etc/passwd')), ['passwd']);
  const refused: readonly (readonly [path: string, reason: string, message: RegExp])[] = [
    ['/none', 'PATH_NOT_FOUND', /^Could not find the file \/none in container /],
    ['/links/broken/', 'PATH_NOT_FOUND', /Could not find the file/],
    ['/etc/passwd/', 'NOT_A_DIRECTORY', /not a directory/],
    ['', 'INVALID_FIELD', /path/],
    ['a\0b', 'INVALID_FIELD', /path/],
  ];
  for (const [path, reason, message] of refused) {
    await assert.rejects(stat(container, path), { reason, message }, path);
    await assert.rejects(read(container, path), { reason, message }, path);
  }
  await assert.rejects(stat('nobody', '/'), { reason: 'CONTAINER_NOT_FOUND' });
  const actions = await engine.until(
    'events',
    async () => (await engine.eventsOf(container)).map(({ action }) => action),
    (all) => all.includes('archive-path') && all.includes('extract-to-dir'),
  );
  assert.equal(actions.filter((action) => action === 'extract-to-dir').length, 1);
  await remove(container);
});

function linkFarm(): string {
  const root = mkdtempSync(join(folder, 'links-'));
  mkdirSync(join(root, 'links'));
  symlinkSync('/etc/passwd', join(root, 'links/abs'));
  symlinkSync('not/there', join(root, 'links/broken'));
  symlinkSync('../../../../../etc', join(root, 'links/out'));
  return root;
}

test('volumes, bind mounts and tmpfs are in what is copied', { skip }, async () => {
  const bound = mkdtempSync(join(folder, 'bound-'));
  writeFileSync(join(bound, 'host'), 'of the host');
  const mounts = [
    { type: 'MOUNT_TYPE_VOLUME' as const, source: '', target: '/data/volume' },
    { type: 'MOUNT_TYPE_BIND' as const, source: bound, target: '/data/bound' },
    { type: 'MOUNT_TYPE_BIND' as const, source: bound, target: '/data/fixed', readOnly: true },
    { type: 'MOUNT_TYPE_TMPFS' as const, target: '/data/memory' },
    { type: 'MOUNT_TYPE_VOLUME' as const, source: 'part', target: '/part', volumeSubpath: 'sub' },
  ];
  const whole = await create({ mounts: [{ type: 'MOUNT_TYPE_VOLUME' as const, source: 'part', target: '/all' }] });
  await write(whole, '/all', oneFile('sub/inner', 'a part of a volume'));
  const container = await create({ mounts, command: ['sleep', '1000'] });
  await write(container, '/data/volume', oneFile('a', 'before it ran'));
  assert.equal(content(await read(container, '/part/inner'), 'inner'), 'a part of a volume');
  await start(container);
  await write(container, '/data/memory', oneFile('b', 'in memory'));
  await write(container, '/data/bound', oneFile('c', 'into the host'));
  const archive = await read(container, '/data');
  assert.deepEqual(list(archive).sort(), [
    'data/',
    'data/bound/',
    'data/bound/c',
    'data/bound/host',
    'data/fixed/',
    'data/fixed/c',
    'data/fixed/host',
    'data/memory/',
    'data/memory/b',
    'data/volume/',
    'data/volume/a',
  ]);
  assert.equal(content(archive, 'data/memory/b'), 'in memory');
  assert.equal(readFileSync(join(bound, 'c'), 'utf8'), 'into the host');
  const refused = { reason: 'READ_ONLY', message: /mounted volume is marked read-only/ };
  await assert.rejects(write(container, '/data/fixed', oneFile('d', '')), refused);
  await engine.containers.stopContainer({ container, timeoutSeconds: 0, signal: '' });
  await assert.rejects(write(container, '/data/fixed', oneFile('d', '')), refused);
  assert.equal(content(await read(container, '/data/volume/a'), 'a'), 'before it ran');
  assert.ok(!existsSync(join(bound, 'd')));
  await remove(container);
  await remove(whole);
});

test('a read-only root is not written to, its volumes are', { skip }, async () => {
  const mounts = [{ type: 'MOUNT_TYPE_VOLUME' as const, source: '', target: '/data' }];
  const container = await create({ readOnlyRoot: true, mounts, command: ['sleep', '1000'] });
  for (const state of ['created', 'running']) {
    if (state === 'running') await start(container);
    await assert.rejects(write(container, '/tmp', oneFile('a', '')), {
      reason: 'READ_ONLY',
      message: /container rootfs is marked read-only/,
    });
    await write(container, '/data', oneFile(state, state));
    assert.equal(content(await read(container, `/data/${state}`), state), state);
  }
  await remove(container);
});

test('folders and files do not replace each other when they must not', { skip }, async () => {
  const container = await create();
  const strict = { noOverwriteDirNonDir: true };
  await write(container, '/', oneFile('x/y', 'folder'));
  await assert.rejects(write(container, '/', oneFile('x', 'file'), strict), {
    reason: 'DIRECTORY_CONFLICT',
    message: /cannot overwrite directory "\/x" with non-directory "\/"/,
  });
  const folders = mkdtempSync(join(folder, 'y-'));
  mkdirSync(join(folders, 'y'));
  await assert.rejects(write(container, '/x', tar('-C', folders, '-cf', '-', 'y'), strict), {
    reason: 'DIRECTORY_CONFLICT',
    message: /cannot overwrite non-directory "\/x\/y" with directory "\/x"/,
  });
  await assert.rejects(write(container, '/x', oneFile('y/z', 'deep'), strict), { reason: 'PATH_CHANGED' });
  await write(container, '/', oneFile('x', 'file'));
  assert.equal(content(await read(container, '/x'), 'x'), 'file');
  for (const path of ['/etc/passwd', '/x']) {
    await assert.rejects(write(container, path, oneFile('a', '')), {
      reason: 'NOT_A_DIRECTORY',
      message: /extraction point is not a directory/,
    });
  }
  await assert.rejects(write(container, '/none', oneFile('a', '')), { reason: 'PATH_NOT_FOUND' });
  await assert.rejects(write(container, '/', Buffer.alloc(5_000, 'x')), { reason: 'ARCHIVE_NOT_TAR' });
  await assert.rejects(write(container, '/', oneFile('t', 'x'.repeat(4_000)).subarray(0, 3_000)), {
    reason: 'ARCHIVE_TRUNCATED',
  });
  await remove(container);
});

test('with -a everything belongs to the container’s user', { skip }, async () => {
  const container = await create({ user: 'www' });
  await write(container, '/tmp', oneFile('theirs', ''), { copyUidGid: true });
  await write(container, '/tmp', oneFile('ours', ''));
  const owners = spawnSync('tar', ['-tvf', '-', '--numeric-owner'], { input: await read(container, '/tmp') }).stdout;
  assert.match(String(owners), /33\/33 .* tmp\/theirs/);
  assert.match(String(owners), /0\/0 .* tmp\/ours/);
  await remove(container);
});

test('a container that swaps folders for links to its host does not come out of its root', { skip }, async () => {
  const victim = mkdtempSync(join(folder, 'victim-'));
  writeFileSync(join(victim, 'secret'), 'of the host');
  const swap = [
    'mkdir -p /w/a/b /w/keep; ln -s / /w/evil; cd /w',
    `while :; do mv a keep/a; ln -s ${victim} a; rm a; ln -s ../../../../../../../..${victim} a; rm a; mv keep/a a;`,
    `rm -rf a/b; ln -s ${victim} a/b; rm a/b; mkdir a/b; done`,
  ].join('\n');
  const container = await running({ command: ['sh', '-c', swap] });
  await engine.until(
    'the folder',
    () => stat(container, '/w/evil').catch(() => undefined),
    (one) => one !== undefined,
  );
  const archive = oneFile('b/escaped', 'x');
  let [written, seen] = [0, 0];
  const deadline = performance.now() + 2_000;
  for (let round = 0; round < 40 && performance.now() < deadline; round++) {
    await write(container, '/w/a', archive).then(
      () => written++,
      () => {},
    );
    for (const path of ['/w/a/secret', '/w/a/b/secret', '/w']) {
      const got = await read(container, path).catch(() => Buffer.alloc(0));
      seen++;
      assert.ok(!got.includes('of the host'), path);
    }
  }
  assert.ok(seen > 0);
  assert.deepEqual(readdirSync(victim), ['secret']);
  assert.equal(readFileSync(join(victim, 'secret'), 'utf8'), 'of the host');
  await remove(container);
});

test('links of a tar and of a container end in the container', { skip }, async () => {
  const victim = mkdtempSync(join(folder, 'victim-'));
  const source = mkdtempSync(join(folder, 'evil-'));
  symlinkSync(victim, join(source, 'way'));
  const first = tar('-C', source, '-cf', '-', 'way');
  const second = oneFile('way/through', 'x');
  const container = await running();
  await write(container, '/tmp', first);
  await assert.rejects(write(container, '/tmp', second)); // A link to what the container does not have.
  const climbing = tar('-P', '--transform=s,^,../../../,', '-C', source, '-cf', '-', 'way');
  await assert.rejects(write(container, '/tmp', climbing), { reason: 'LAYER_ENTRY_REFUSED' });
  await assert.rejects(write(container, '/proc/sys/kernel', oneFile('core_pattern', 'x')), {
    reason: 'PATH_NOT_FOUND',
  });
  await assert.rejects(read(container, '/proc/1/root/etc/passwd'), { reason: 'PATH_NOT_FOUND' });
  assert.deepEqual(readdirSync(victim), []);
  const all = list(await read(container, '/'));
  assert.ok(all.includes('/proc/') && all.includes('/bin/busybox'));
  assert.deepEqual(
    all.filter((name) => /^\/(proc|sys|dev)\/./.test(name)),
    [],
  );
  await remove(container);
});

test('a copy that is under way ends when its container is removed; a start waits for it', { skip }, async () => {
  const container = await create();
  await write(container, '/tmp', tar('-C', bigTree(), '-cf', '-', '.'));
  const stream = engine.containers.readArchive({ container, path: '/tmp' })[Symbol.asyncIterator]();
  assert.ok((await stream.next()).value!.stat !== undefined);
  const removed = remove(container);
  await assert.rejects(
    async () => {
      for (let part = await stream.next(); part.done !== true; part = await stream.next()) await sleep(1);
    },
    { reason: 'CONTAINER_CHANGED' },
  );
  await removed;
  assert.deepEqual(hostMounts(), []);
});

function bigTree(): string {
  const root = mkdtempSync(join(folder, 'big-'));
  for (let n = 0; n < 4; n++) writeFileSync(join(root, `file-${n}`), Buffer.alloc(4 << 20, n));
  return root;
}

test('an image service that is killed in the middle leaves no mount, and goes on', { skip }, async () => {
  const container = await create();
  await write(container, '/tmp', tar('-C', bigTree(), '-cf', '-', '.'));
  const stream = engine.containers.readArchive({ container, path: '/tmp' })[Symbol.asyncIterator]();
  await stream.next();
  await engine.kill('image');
  await assert.rejects(async () => {
    while ((await stream.next()).done !== true);
  });
  assert.deepEqual(hostMounts(), []);
  engine.startService('image');
  assert.equal(list(await read(container, '/tmp')).length, 5);
  await remove(container);
});

test('what a container was given is there when it starts', { skip }, async () => {
  const container = await create({ command: ['sh', '-c', 'cat /tmp/given && ls -l /tmp/link'] });
  await write(container, '/tmp', oneFile('given', 'hello'));
  await start(container);
  const { exitCode } = await engine.containers.waitContainer({
    container,
    condition: 'WAIT_CONDITION_NEXT_EXIT',
    afterRun: 0n,
  });
  assert.notEqual(exitCode, 0); // There is no link.
  const parts: Buffer[] = [];
  const request = { container, follow: false, details: false, stdout: true, stderr: false, afterCursor: '' };
  for await (const { data } of engine.containers.streamLogs(request)) parts.push(data);
  assert.equal(Buffer.concat(parts).toString(), 'hello');
  await remove(container);
});
