import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { CopyRig, content, list, tar, tarOf } from './testing/copy-rig.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'makes containers: set FLOTILLA_ROOT_TESTS=1 as root';
let rig: CopyRig;
before(async () => {
  if (skip === false) rig = await CopyRig.start();
});
after(() => rig?.[Symbol.asyncDispose]());

test('what is copied into a container and out of it is the same, running or not', { skip }, async () => {
  const source = join(rig.folder, 'tree');
  mkdirSync(join(source, 'sub/empty'), { recursive: true });
  writeFileSync(join(source, 'sub/file'), 'text', { mode: 0o640 });
  linkSync(join(source, 'sub/file'), join(source, 'sub/again'));
  symlinkSync('../nowhere', join(source, 'sub/link'));
  writeFileSync(join(source, `${'long'.repeat(60)}`), 'long');
  writeFileSync(join(source, 'grüße'), 'umlaut');
  execFileSync('mknod', [join(source, 'null'), 'c', '1', '3']);
  execFileSync('mkfifo', [join(source, 'fifo')]);
  execFileSync('dd', ['status=none', 'if=/dev/zero', `of=${join(source, 'sparse')}`, 'bs=1', 'count=1', 'seek=3M']);
  execFileSync('setfattr', ['-n', 'user.note', '-v', 'kept', join(source, 'sub/file')]);
  chmodSync(join(source, 'sub'), 0o2751);
  chownSync(join(source, 'sub/file'), 1234, 4321);
  utimesSync(join(source, 'sub/empty'), 1_000_000_000.25, 1_000_000_000.25);
  const archive = tar('--xattrs', '-S', '--format=pax', '-C', rig.folder, '-cf', '-', 'tree');
  const there = describe(source);
  for (const container of [await rig.running(), await rig.create()]) {
    await rig.write(container, '/tmp', archive);
    const back = rig.makeFolder('back');
    const got = await rig.read(container, '/tmp/tree');
    tarOf(got, '--xattrs', '--xattrs-include=user.*', '-C', back, '-xp');
    assert.deepEqual(describe(join(back, 'tree')), there);
    await rig.remove(container);
  }
  rig.assertNothingMounted();
});

/** All that cp has to keep: type, mode, owner, time, links, device, content. */
function describe(root: string): string[] {
  const run = (program: string, ...args: string[]) =>
    execFileSync(program, args, { cwd: root }).toString().split('\n').sort();
  return [
    ...run('find', '.', '-printf', '%p %y %m %U %G %n %T@ %l\\n'),
    ...run(
      'sh',
      '-ec',
      'find . -type f -exec sha256sum {} + ; find . ! -type l -exec getfattr -d {} + ; stat -c %t:%T null',
    ),
  ];
}

test('a path is told as Docker tells it, and names the entries of its tar', { skip }, async () => {
  const container = await rig.create();
  assert.deepEqual(
    [await rig.stat(container, '/etc/passwd')].map(({ name, sizeBytes, mode }) => [name, sizeBytes, mode]),
    [['passwd', BigInt('root:x:0:0::/root:/bin/sh\nwww:x:33:33::/tmp:/bin/sh\n'.length), 0o100644]],
  );
  await rig.write(container, '/', tar('-C', linkFarm(), '-cf', '-', '.'));
  const link = await rig.stat(container, 'up/../links/abs');
  assert.deepEqual([link.name, link.mode & 0o170000, link.linkTarget], ['abs', 0o120000, '/etc/passwd']);
  assert.equal((await rig.stat(container, '/links/broken')).linkTarget, '/links/not/there');
  assert.equal((await rig.stat(container, '/links/out')).linkTarget, '/etc');
  assert.equal((await rig.stat(container, '/links/out')).mode & 0o170000, 0o120000);
  assert.equal((await rig.stat(container, '/links/out/')).mode & 0o170000, 0o040000);
  assert.deepEqual(list(await rig.read(container, '/links/out/')).slice(0, 2), ['out/', 'out/group']);
  assert.deepEqual(list(await rig.read(container, '/links/out')), ['out']);
  assert.deepEqual(list(await rig.read(container, '/links/.')).slice(0, 2), ['./', './abs']);
  assert.deepEqual(list(await rig.read(container, '/etc/passwd')), ['passwd']);
  const refused: readonly (readonly [path: string, reason: string, message: RegExp])[] = [
    ['/none', 'PATH_NOT_FOUND', /^Could not find the file \/none in container /],
    ['/links/broken/', 'PATH_NOT_FOUND', /Could not find the file/],
    ['/etc/passwd/', 'NOT_A_DIRECTORY', /not a directory/],
    ['', 'INVALID_FIELD', /path/],
    ['a\0b', 'INVALID_FIELD', /path/],
  ];
  for (const [path, reason, message] of refused) {
    await assert.rejects(rig.stat(container, path), { reason, message }, path);
    await assert.rejects(rig.read(container, path), { reason, message }, path);
  }
  await assert.rejects(rig.stat('nobody', '/'), { reason: 'CONTAINER_NOT_FOUND' });
  const actions = await rig.engine.until(
    'events',
    async () => (await rig.engine.eventsOf(container)).map(({ action }) => action),
    (all) => all.includes('archive-path') && all.includes('extract-to-dir'),
  );
  assert.equal(actions.filter((action) => action === 'extract-to-dir').length, 1);
  await rig.remove(container);
});

function linkFarm(): string {
  const root = rig.makeFolder('links');
  mkdirSync(join(root, 'links'));
  symlinkSync('/etc/passwd', join(root, 'links/abs'));
  symlinkSync('not/there', join(root, 'links/broken'));
  symlinkSync('../../../../../etc', join(root, 'links/out'));
  return root;
}

test('volumes, bind mounts and tmpfs are in what is copied', { skip }, async () => {
  const bound = rig.makeFolder('bound');
  writeFileSync(join(bound, 'host'), 'of the host');
  const mounts = [
    { type: 'MOUNT_TYPE_VOLUME' as const, source: '', target: '/data/volume' },
    { type: 'MOUNT_TYPE_BIND' as const, source: bound, target: '/data/bound' },
    { type: 'MOUNT_TYPE_BIND' as const, source: bound, target: '/data/fixed', readOnly: true },
    { type: 'MOUNT_TYPE_TMPFS' as const, target: '/data/memory' },
    { type: 'MOUNT_TYPE_VOLUME' as const, source: 'part', target: '/part', volumeSubpath: 'sub' },
  ];
  const whole = await rig.create({ mounts: [{ type: 'MOUNT_TYPE_VOLUME' as const, source: 'part', target: '/all' }] });
  await rig.write(whole, '/all', rig.oneFile('sub/inner', 'a part of a volume'));
  const container = await rig.create({ mounts, command: ['sleep', '1000'] });
  await rig.write(container, '/data/volume', rig.oneFile('a', 'before it ran'));
  assert.equal(content(await rig.read(container, '/part/inner'), 'inner'), 'a part of a volume');
  await rig.start(container);
  await rig.write(container, '/data/memory', rig.oneFile('b', 'in memory'));
  await rig.write(container, '/data/bound', rig.oneFile('c', 'into the host'));
  const archive = await rig.read(container, '/data');
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
  await assert.rejects(rig.write(container, '/data/fixed', rig.oneFile('d', '')), refused);
  await rig.engine.containers.stopContainer({ container, timeoutSeconds: 0, signal: '' });
  await assert.rejects(rig.write(container, '/data/fixed', rig.oneFile('d', '')), refused);
  assert.equal(content(await rig.read(container, '/data/volume/a'), 'a'), 'before it ran');
  assert.ok(!existsSync(join(bound, 'd')));
  await rig.remove(container);
  await rig.remove(whole);
});

test('a read-only root is not written to, its volumes are', { skip }, async () => {
  const mounts = [{ type: 'MOUNT_TYPE_VOLUME' as const, source: '', target: '/data' }];
  const container = await rig.create({ readOnlyRoot: true, mounts, command: ['sleep', '1000'] });
  for (const state of ['created', 'running']) {
    if (state === 'running') await rig.start(container);
    await assert.rejects(rig.write(container, '/tmp', rig.oneFile('a', '')), {
      reason: 'READ_ONLY',
      message: /container rootfs is marked read-only/,
    });
    await rig.write(container, '/data', rig.oneFile(state, state));
    assert.equal(content(await rig.read(container, `/data/${state}`), state), state);
  }
  await rig.remove(container);
});

test('folders and files do not replace each other when they must not', { skip }, async () => {
  const container = await rig.create();
  const strict = { noOverwriteDirNonDir: true };
  await rig.write(container, '/', rig.oneFile('x/y', 'folder'));
  await assert.rejects(rig.write(container, '/', rig.oneFile('x', 'file'), strict), {
    reason: 'DIRECTORY_CONFLICT',
    message: /cannot overwrite directory "\/x" with non-directory "\/"/,
  });
  const folders = rig.makeFolder('y');
  mkdirSync(join(folders, 'y'));
  await assert.rejects(rig.write(container, '/x', tar('-C', folders, '-cf', '-', 'y'), strict), {
    reason: 'DIRECTORY_CONFLICT',
    message: /cannot overwrite non-directory "\/x\/y" with directory "\/x"/,
  });
  await assert.rejects(rig.write(container, '/x', rig.oneFile('y/z', 'deep'), strict), { reason: 'PATH_CHANGED' });
  await rig.write(container, '/', rig.oneFile('x', 'file'));
  assert.equal(content(await rig.read(container, '/x'), 'x'), 'file');
  for (const path of ['/etc/passwd', '/x']) {
    await assert.rejects(rig.write(container, path, rig.oneFile('a', '')), {
      reason: 'NOT_A_DIRECTORY',
      message: /extraction point is not a directory/,
    });
  }
  await assert.rejects(rig.write(container, '/none', rig.oneFile('a', '')), { reason: 'PATH_NOT_FOUND' });
  await assert.rejects(rig.write(container, '/', Buffer.alloc(5_000, 'x')), { reason: 'ARCHIVE_NOT_TAR' });
  await assert.rejects(rig.write(container, '/', rig.oneFile('t', 'x'.repeat(4_000)).subarray(0, 3_000)), {
    reason: 'ARCHIVE_TRUNCATED',
  });
  await rig.remove(container);
});

test('with -a everything belongs to the container’s user', { skip }, async () => {
  const container = await rig.create({ user: 'www' });
  await rig.write(container, '/tmp', rig.oneFile('theirs', ''), { copyUidGid: true });
  await rig.write(container, '/tmp', rig.oneFile('ours', ''));
  const owners = tarOf(await rig.read(container, '/tmp'), '-tv', '--numeric-owner');
  assert.match(owners, /33\/33 .* tmp\/theirs/);
  assert.match(owners, /0\/0 .* tmp\/ours/);
  await rig.remove(container);
});

test('what a container was given is there when it starts', { skip }, async () => {
  const container = await rig.create({ command: ['sh', '-c', 'cat /tmp/given && ls -l /tmp/link'] });
  await rig.write(container, '/tmp', rig.oneFile('given', 'hello'));
  await rig.start(container);
  const { exitCode } = await rig.engine.containers.waitContainer({
    container,
    condition: 'WAIT_CONDITION_NEXT_EXIT',
    afterRun: 0n,
  });
  assert.notEqual(exitCode, 0); // There is no link.
  const parts: Buffer[] = [];
  const request = { container, follow: false, details: false, stdout: true, stderr: false, afterCursor: '' };
  for await (const { data } of rig.engine.containers.streamLogs(request)) parts.push(data);
  assert.equal(Buffer.concat(parts).toString(), 'hello');
  await rig.remove(container);
});
