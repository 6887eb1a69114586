import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { sha256Digest } from '@flotilla/oci';
import { type Header, pack } from 'tar-stream';
import { defaultUnpackLimits } from './limits.ts';
import { unpackLayer } from './unpack-layer.ts';

const skip =
  process.env.FLOTILLA_ROOT_TESTS === '1'
    ? false
    : 'changes owners and makes devices: only root, with FLOTILLA_ROOT_TESTS=1';
const folder = mkdtempSync(join(tmpdir(), 'fl-unpack-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let counter = 0;
const fresh = () => join(folder, String(++counter));

interface Entry extends Partial<Header> {
  readonly name: string;
  readonly data?: string | Buffer;
}

async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const packing = pack();
  const whole = buffer(packing);
  for (const { data = '', ...header } of entries) {
    packing.entry({ uid: 0, gid: 0, mode: 0o644, ...header } as Header, data as string);
  }
  packing.finalize();
  return whole;
}

async function unpack(blob: Buffer, { below = [] as string[], limits = defaultUnpackLimits } = {}) {
  const [blobPath, directory] = [fresh(), fresh()];
  writeFileSync(blobPath, blob);
  mkdirSync(directory);
  const result = await unpackLayer({ blobPath, directory, below, layer: 'test', limits });
  return { ...result, directory };
}

/** Everything about a tree: type, mode, owner, size, time to the nanosecond, link, attributes, content. */
function describeTree(path: string): string {
  const files = execFileSync('find', ['.', '-printf', '%p %y %m %U %G %T@ %l %n\n'], { cwd: path }).toString();
  const attributes = execFileSync('getfattr', ['-R', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
    cwd: path,
  }).toString();
  const content = execFileSync('sh', ['-c', 'find . -type f -exec sha256sum {} +'], { cwd: path }).toString();
  const sort = (text: string, between: string) => text.split(between).sort().join(between);
  return [sort(files, '\n'), sort(attributes, '\n\n'), sort(content, '\n')].join('\n==\n');
}

function makeTree(): string {
  const tree = fresh();
  const run = (script: string) => execFileSync('sh', ['-ec', script], { cwd: tree });
  mkdirSync(join(tree, 'd'.repeat(120), 'e'.repeat(120)), { recursive: true });
  writeFileSync(join(tree, 'random'), randomBytes(300_000));
  writeFileSync(join(tree, 'empty'), '');
  run(`cp /bin/busybox caps; setcap cap_net_raw,cap_setuid+ep caps; setfattr -n user.bin -v 0x0080ff0a00 caps
    printf x > ${'d'.repeat(120)}/${'e'.repeat(120)}/${'f'.repeat(120)}
    ln caps hard; chmod 4711 random; chown 1234:2345 empty; ln -s /etc/passwd absolute; ln -s nowhere dangling
    mkfifo pipe; mknod null c 1 3; mknod disk b 7 300; mkdir -m 1777 tmp; setfattr -n user.dir -v yes tmp
    truncate -s 30M sparse; printf middle | dd of=sparse bs=1 seek=20000000 conv=notrunc status=none
    touch -d '2001-02-03 04:05:06.123456789' random tmp; touch -h -d '1969-12-31 23:00:00' dangling; touch 'with blank'`);
  return tree;
}

test('a tree packed by GNU tar comes out the same, plain, gzip and zstd, holes included', { skip }, async () => {
  const tree = makeTree();
  const tar = fresh();
  execFileSync('tar', ['--xattrs', '--xattrs-include=*', '--format=posix', '--sparse', '-C', tree, '-cf', tar, '.']);
  const plain = readFileSync(tar);
  for (const blob of [plain, gzipSync(plain), zstdCompressSync(plain)]) {
    const { directory, diffId } = await unpack(blob);
    assert.equal(describeTree(directory), describeTree(tree));
    assert.equal(diffId, sha256Digest(plain));
    assert.ok(statSync(join(directory, 'sparse')).blocks < 1_000, 'the holes were filled');
  }
});

for (const format of [
  ['--format=gnu'],
  ['--format=posix', '--sparse-version=0.1'],
  ['--format=posix', '--sparse-version=1.0'],
]) {
  test(`sparse files of tar ${format.join(' ')} keep content and holes`, { skip }, async () => {
    const tree = fresh();
    mkdirSync(tree);
    // More pieces than the header of the old form has room for.
    execFileSync(
      'sh',
      [
        '-ec',
        `truncate -s 64M many; for i in $(seq 1 40); do printf "piece $i" | dd of=many bs=1 seek=$((i * 1000000)) conv=notrunc status=none; done`,
      ],
      { cwd: tree },
    );
    const tar = fresh();
    execFileSync('tar', [...format, '--sparse', '-C', tree, '-cf', tar, '.']);
    const { directory } = await unpack(readFileSync(tar));
    execFileSync('cmp', [join(tree, 'many'), join(directory, 'many')]);
    assert.ok(statSync(join(directory, 'many')).blocks * 512 < 4_000_000);
  });
}

test('whiteouts and opaque directories take overlayfs’s form', { skip }, async () => {
  const below = await unpack(await tarOf([{ name: 'gone/file' }, { name: 'again/x' }, { name: 'own' }]));
  const { directory } = await unpack(
    await tarOf([
      { name: 'gone/', type: 'directory', mode: 0o755 },
      { name: 'gone/.wh.file' },
      { name: 'gone/.wh.nothing' },
      { name: 'all/', type: 'directory', mode: 0o755 },
      { name: 'all/.wh..wh..opq' },
      { name: 'own', data: 'mine' },
      { name: '.wh.own' },
      { name: '.wh.again' },
      { name: 'again/', type: 'directory', mode: 0o755 },
      { name: '.wh..wh.plnk/x' },
    ]),
    { below: [below.directory] },
  );
  assert.deepEqual(readdirSync(join(directory, 'gone')), ['file'], 'hides what is not there');
  const device = lstatSync(join(directory, 'gone/file'));
  assert.ok(device.isCharacterDevice() && device.rdev === 0);
  const opaque = (name: string) =>
    execFileSync('getfattr', ['-h', '--only-values', '-n', 'trusted.overlay.opaque', join(directory, name)]).toString();
  assert.equal(opaque('all'), 'y');
  assert.equal(opaque('again'), 'y', 'what the whiteout hid would show through');
  assert.equal(readFileSync(join(directory, 'own'), 'utf8'), 'mine', 'a whiteout hides lower layers alone');
});

test('a directory without an entry of its own looks as in the layer below', { skip }, async () => {
  const below = await unpack(
    await tarOf([{ name: 'tmp/', type: 'directory', mode: 0o1777, uid: 7, gid: 8, mtime: new Date(5_000) }]),
  );
  const { directory } = await unpack(await tarOf([{ name: 'tmp/file' }]), { below: [below.directory] });
  const { mode, uid, gid, mtimeMs } = statSync(join(directory, 'tmp'));
  assert.deepEqual([mode & 0o7777, uid, gid, mtimeMs], [0o1777, 7, 8, 5_000]);
});

test('a later entry replaces an earlier one, whatever it was', { skip }, async () => {
  const { directory } = await unpack(
    await tarOf([
      { name: 'a', data: 'file' },
      { name: 'a/', type: 'directory', mode: 0o700 },
      { name: 'b/', type: 'directory', mode: 0o700 },
      { name: 'b/c/d', data: 'deep' },
      { name: 'b', data: 'file now' },
      { name: 'l', type: 'symlink', linkname: 'b' },
      { name: 'l', data: 'no link' },
    ]),
  );
  assert.ok(lstatSync(join(directory, 'a')).isDirectory());
  assert.equal(readFileSync(join(directory, 'b'), 'utf8'), 'file now', 'written through the link');
  assert.equal(readFileSync(join(directory, 'l'), 'utf8'), 'no link');
});

test('links that lead out of the root are followed inside it', { skip }, async () => {
  const outside = fresh();
  mkdirSync(outside);
  const { directory } = await unpack(
    await tarOf([
      { name: 'root/', type: 'directory', mode: 0o755 },
      { name: 'way', type: 'symlink', linkname: '/root' },
      { name: 'up', type: 'symlink', linkname: '../../../../root' },
      { name: 'way/a', data: 'a' },
      { name: 'up/b', data: 'b' },
    ]),
  );
  assert.equal(readFileSync(join(directory, 'root/a'), 'utf8'), 'a');
  assert.equal(readFileSync(join(directory, 'root/b'), 'utf8'), 'b');
  assert.equal(readlinkSync(join(directory, 'way')), '/root');
});

const outside = join(folder, 'outside');
const refused: readonly (readonly [string, readonly Entry[]])[] = [
  ['a name that leaves by ..', [{ name: '../outside', data: 'x' }]],
  ['a name that leaves by .. in the middle', [{ name: 'a/../../outside', data: 'x' }]],
  ['a whiteout of ..', [{ name: '.wh...' }]],
  ['a whiteout of nothing', [{ name: '.wh.' }]],
  [
    'a file through a link to a place that is not in the root',
    [
      { name: 'l', type: 'symlink', linkname: outside },
      { name: 'l/x', data: 'x' },
    ],
  ],
  [
    'a file below a file',
    [
      { name: 'f', data: 'x' },
      { name: 'f/x', data: 'x' },
    ],
  ],
  ['a hard link to a file outside', [{ name: 'h', type: 'link', linkname: '../../../../etc/passwd' }]],
  [
    'a hard link through a link to the outside',
    [
      { name: 'l', type: 'symlink', linkname: '/etc' },
      { name: 'h', type: 'link', linkname: 'l/passwd' },
    ],
  ],
  [
    'a hard link to a directory',
    [
      { name: 'd/', type: 'directory' },
      { name: 'h', type: 'link', linkname: 'd' },
    ],
  ],
  ['a hard link to nothing', [{ name: 'h', type: 'link', linkname: 'nothing' }]],
  [
    'links in a circle',
    [{ name: 'a', type: 'symlink', linkname: 'b' }, { name: 'b', type: 'symlink', linkname: 'a' }, { name: 'a/x' }],
  ],
  ['an owner out of range', [{ name: 'f', pax: { uid: '4294967295' } as never }]],
  ['a negative owner', [{ name: 'f', pax: { uid: '-1' } as never }]],
  ['an owner that is no number', [{ name: 'f', pax: { gid: 'root' } as never }]],
  ['a name of 5,000 bytes', [{ name: 'n', pax: { path: 'n'.repeat(5_000) } as never }]],
  ['the root as a file', [{ name: '.', data: 'x' }]],
];
for (const [name, entries] of refused) {
  test(`refused: ${name}`, { skip }, async () => {
    const passwd = readFileSync('/etc/passwd');
    const { nlink } = statSync('/etc/passwd');
    await assert.rejects(
      unpack(await tarOf(entries)),
      (error: { reason: string; metadata: Record<string, string> }) => {
        assert.equal(error.reason, 'LAYER_ENTRY_REFUSED');
        assert.ok(error.metadata.entry !== undefined && error.metadata.layer === 'test');
        return true;
      },
    );
    assert.ok(!existsSync(outside));
    assert.deepEqual([readFileSync('/etc/passwd'), statSync('/etc/passwd').nlink], [passwd, nlink]);
  });
}

test('a mode is never set through a link', { skip }, async () => {
  const { mode } = statSync('/etc/passwd');
  await unpack(await tarOf([{ name: 'l', type: 'symlink', linkname: '/etc/passwd', mode: 0o777 }]));
  assert.equal(statSync('/etc/passwd').mode, mode);
});

test('of attributes, only the image’s own are taken', { skip }, async () => {
  const pax = { 'SCHILY.xattr.trusted.overlay.redirect': '/etc', 'SCHILY.xattr.user.ok': 'yes' } as never;
  const { directory } = await unpack(await tarOf([{ name: 'f', pax }]));
  const found = execFileSync('getfattr', ['-d', '-m', '-', join(directory, 'f')]).toString();
  assert.match(found, /user\.ok="yes"/);
  assert.doesNotMatch(found, /trusted/);
});

test('what ends in the middle is truncated, what is no tar is none, and each says so', { skip }, async () => {
  const whole = await tarOf([
    { name: 'a', data: randomBytes(100_000) },
    { name: 'b', data: 'x' },
  ]);
  for (const blob of [
    whole.subarray(0, 50_000),
    gzipSync(whole).subarray(0, 60_000),
    zstdCompressSync(whole).subarray(0, 60_000),
    whole.subarray(0, 700),
  ]) {
    await assert.rejects(unpack(blob), { reason: 'ARCHIVE_TRUNCATED' });
  }
  for (const blob of [
    randomBytes(10_000),
    Buffer.from('<html>'.repeat(200)),
    gzipSync(randomBytes(10_000)),
    Buffer.alloc(0),
  ]) {
    await assert.rejects(unpack(blob), { reason: 'ARCHIVE_NOT_TAR' });
  }
});

test('an archive that only lacks the padding of its end is whole', { skip }, async () => {
  const whole = await tarOf([{ name: 'a', data: 'x' }]);
  const { directory } = await unpack(whole.subarray(0, 513));
  assert.equal(readFileSync(join(directory, 'a'), 'utf8'), 'x');
});

test('a header with a negative size is no tar', { skip }, async () => {
  const tar = await tarOf([{ name: 'a', data: 'x' }]);
  tar.fill(0xff, 124, 136);
  await assert.rejects(unpack(tar), { reason: 'ARCHIVE_NOT_TAR' });
});

test('a bomb is stopped: by ratio, by size, by the number of entries', { skip }, async () => {
  const zeros = gzipSync(await tarOf([{ name: 'z', data: Buffer.alloc(20 << 20) }]));
  const limits = { ...defaultUnpackLimits, ratioFreeBytes: 1 << 20, maxRatio: 100 };
  await assert.rejects(unpack(zeros, { limits }), { reason: 'ARCHIVE_TOO_LARGE' });
  await assert.rejects(unpack(zeros, { limits: { ...defaultUnpackLimits, maxBytes: 10 << 20 } }), {
    reason: 'ARCHIVE_TOO_LARGE',
  });
  const many = await tarOf(Array.from({ length: 30 }, (_, i) => ({ name: `f${i}` })));
  await assert.rejects(unpack(many, { limits: { ...defaultUnpackLimits, maxEntries: 20 } }), {
    reason: 'ARCHIVE_TOO_LARGE',
  });
});

test('an unpacking that is cancelled ends at once and leaves the thread to nobody', { skip }, async () => {
  const [blobPath, directory] = [fresh(), fresh()];
  writeFileSync(blobPath, await tarOf(Array.from({ length: 3_000 }, (_, i) => ({ name: `f${i}`, data: 'x' }))));
  mkdirSync(directory);
  const abort = new AbortController();
  const request = { blobPath, directory, below: [], layer: 'test', limits: defaultUnpackLimits };
  const running = unpackLayer(request, { signal: abort.signal });
  setTimeout(() => abort.abort(new Error('enough')), 20);
  await assert.rejects(running, /enough/);
});

test('a disk that is full in the middle of a file is told as such', { skip }, async () => {
  const [blobPath, directory] = [fresh(), fresh()];
  writeFileSync(blobPath, await tarOf([{ name: 'large', data: randomBytes(2 << 20) }]));
  mkdirSync(directory);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'small', directory]);
  try {
    const unpacking = unpackLayer({ blobPath, directory, below: [], layer: 'test', limits: defaultUnpackLimits });
    await assert.rejects(unpacking, { code: 'resource_exhausted', reason: 'DISK_FULL', message: /layer test/ });
  } finally {
    execFileSync('umount', [directory]);
  }
});
