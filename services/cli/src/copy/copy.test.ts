import assert from 'node:assert/strict';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pack } from 'tar-stream';
import { parseCopyPlace } from './copy-place.ts';
import { absolutePath, checkOutputPath, destinationInfo, sourceInfo } from './local-info.ts';
import { packLocal } from './pack-local.ts';
import { type CopyInfo, planCopy } from './plan-copy.ts';
import { unpackLocal } from './unpack-local.ts';

const folder = mkdtempSync(join(tmpdir(), 'fl-copy-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const places: readonly (readonly [text: string, container: string | undefined, path: string])[] = [
  ['c:/x', 'c', '/x'],
  ['c:x:y', 'c', 'x:y'],
  ['/a:b', undefined, '/a:b'],
  ['./a:b', undefined, './a:b'],
  ['-', undefined, '-'],
  ['c:', 'c', ''],
];
for (const [text, container, path] of places) {
  test(`${text} is ${path} in ${container ?? 'no container'}`, () => {
    assert.deepEqual(parseCopyPlace(text, 'source'), { container, path });
  });
}

const info = (path: string, kind: 'file' | 'folder' | 'nothing', rebaseName = ''): CopyInfo => ({
  path,
  exists: kind !== 'nothing',
  isFolder: kind === 'folder',
  rebaseName,
});

/** What Docker 28's client does with the same: where it unpacks, and what the entry is called there. */
const plans: readonly (readonly [source: CopyInfo, destination: CopyInfo, entry: string, result: string])[] = [
  [info('/s/f', 'file'), info('/t/new', 'nothing'), 'f', '/t + new'],
  [info('/s/f', 'file'), info('/t', 'folder'), 'f', '/t + f'],
  [info('/s/f', 'file'), info('/t/', 'folder'), 'f', '/t/ + f'],
  [info('/s/f', 'file'), info('/t/old', 'file'), 'f', '/t + old'],
  [info('/s/f', 'file'), info('/t/none/', 'nothing'), 'f', 'DIRECTORY_NOT_FOUND'],
  [info('/s/d', 'folder'), info('/t/new', 'nothing'), 'd/x', '/t + new/x'],
  [info('/s/d', 'folder'), info('/t/new/', 'nothing'), 'd/x', '/t + new/x'],
  [info('/s/d', 'folder'), info('/t/dir', 'folder'), 'd/x', '/t/dir + d/x'],
  [info('/s/d/.', 'folder'), info('/t/dir', 'folder'), './x', '/t/dir + ./x'],
  [info('/s/d/.', 'folder'), info('/t/new', 'nothing'), './x', '/t + new/x'],
  [info('/s/d', 'folder'), info('/t/old', 'file'), 'd', 'CANNOT_COPY_DIRECTORY'],
  [info('/', 'folder'), info('/t/new', 'nothing'), '/etc', '/t + new/etc'],
  [info('/s/real/', 'folder', 'link'), info('/t/new', 'nothing'), 'link/x', '/t + new/x'],
];
for (const [source, destination, entry, result] of plans) {
  test(`${source.path} to ${destination.path}: ${result}`, () => {
    const plan = () => {
      const { folder: at, rename } = planCopy(source, destination);
      return `${at} + ${rename(entry)}`;
    };
    if (result.includes('+')) assert.equal(plan(), result);
    else assert.throws(plan, { reason: result });
  });
}

test('what is packed here and unpacked there is the same', async () => {
  const source = join(folder, 'from');
  mkdirSync(join(source, 'sub'), { recursive: true });
  writeFileSync(join(source, 'sub/file'), 'text', { mode: 0o640 });
  linkSync(join(source, 'sub/file'), join(source, 'sub/second'));
  symlinkSync('file', join(source, 'sub/link'));
  writeFileSync(join(source, 'x'.repeat(200)), 'long');
  writeFileSync(join(source, 'grüße'), Buffer.alloc(3 << 20, 7));
  utimesSync(join(source, 'sub'), 1_000_000_000.5, 1_000_000_000.5);
  const to = join(folder, 'to');
  const plan = planCopy(sourceInfo(source, false), destinationInfo(to));
  await unpackLocal(packLocal(sourceInfo(source, false), plan.rename), { folder: plan.folder, rename: (name) => name });
  assert.deepEqual(describe(to), describe(source));
  assert.equal(statSync(join(to, 'sub/file')).ino, statSync(join(to, 'sub/second')).ino);
});

test('a name that is not UTF-8 is refused, here and in a tar', async () => {
  const source = join(folder, 'odd');
  mkdirSync(source);
  writeFileSync(Buffer.concat([Buffer.from(`${source}/a`), Buffer.from([0xe9])]), '');
  const plan = planCopy(sourceInfo(source, false), destinationInfo(join(folder, 'odd-to')));
  await assert.rejects(Array.fromAsync(packLocal(sourceInfo(source, false), plan.rename)), {
    reason: 'FILE_NAME_INVALID',
  });
  const archive = pack();
  archive.entry({ name: 'b\ufffd' }, 'x');
  archive.finalize();
  const to = join(folder, 'odd-to');
  mkdirSync(to);
  await assert.rejects(unpackLocal(archive as AsyncIterable<Buffer>, { folder: to, rename: (name) => name }), {
    reason: 'ENTRY_REFUSED',
  });
  assert.deepEqual(readdirSync(to), []);
});

function describe(root: string): unknown[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const status = lstatSync(join(root, name));
      const content = status.isFile() ? readFileSync(join(root, name)).toString('base64') : '';
      const target = status.isSymbolicLink() ? readlinkSync(join(root, name)) : '';
      return [name, status.mode, status.mtimeMs, status.nlink, content, target];
    });
}

test('a link here is copied as a link, unless it is followed or a slash stands behind it', () => {
  const real = join(folder, 'real');
  mkdirSync(real);
  symlinkSync('real', join(folder, 'alias'));
  const found = (path: string, follow = false) => sourceInfo(absolutePath(path), follow);
  assert.deepEqual(found(join(folder, 'alias')), info(join(folder, 'alias'), 'file'));
  assert.deepEqual(found(join(folder, 'alias/')), info(`${real}/`, 'folder', 'alias'));
  assert.deepEqual(found(join(folder, 'alias'), true), info(real, 'folder', 'alias'));
  assert.throws(() => found(join(folder, 'none')), { reason: 'FILE_NOT_FOUND', message: /no such file or directory/ });
  symlinkSync('yet-to-come', join(folder, 'broken'));
  assert.deepEqual(destinationInfo(join(folder, 'broken')), info(join(folder, 'yet-to-come'), 'nothing'));
  assert.throws(() => checkOutputPath(join(folder, 'none/x')), { message: /directory ".*none" does not exist/ });
  assert.throws(() => checkOutputPath('/dev/null'), { message: /got a device/ });
});

type Entry = Parameters<ReturnType<typeof pack>['entry']>[0];
const evil: readonly (readonly [what: string, entries: readonly Entry[]])[] = [
  ['climbs', [{ name: '../escaped' }]],
  ['climbs from below', [{ name: 'a/../../escaped' }]],
  [
    'goes through its own link',
    [{ name: 'way', type: 'symlink', linkname: join(folder, 'victim') }, { name: 'way/escaped' }],
  ],
  [
    'goes through a link that climbs',
    [{ name: 'way', type: 'symlink', linkname: '../victim' }, { name: 'way/escaped' }],
  ],
  ['links hard to what is outside', [{ name: 'taken', type: 'link', linkname: '../victim/secret' }]],
];
for (const [what, entries] of evil) {
  test(`a container's archive that ${what} is refused`, async () => {
    const victim = join(folder, 'victim');
    const to = mkdtempSync(join(folder, 'to-'));
    mkdirSync(victim, { recursive: true });
    writeFileSync(join(victim, 'secret'), 'secret');
    const archive = pack();
    for (const entry of entries) archive.entry(entry, entry.type === undefined ? 'x' : '');
    archive.finalize();
    await assert.rejects(unpackLocal(archive as AsyncIterable<Buffer>, { folder: to, rename: (name) => name }), {
      reason: 'ENTRY_REFUSED',
    });
    assert.deepEqual(readdirSync(victim), ['secret']);
    assert.ok(!existsSync(join(folder, 'escaped')));
    assert.ok(!existsSync(join(to, 'taken')));
  });
}

test('a file that shrinks while it is packed leaves a whole archive', async () => {
  const source = join(folder, 'shrinking');
  writeFileSync(source, Buffer.alloc(8 << 20, 1));
  const pieces: Buffer[] = [];
  for await (const piece of packLocal(sourceInfo(source, false), (name) => name)) {
    if (pieces.push(piece) === 1) truncateSync(source, 1 << 20);
  }
  const to = mkdtempSync(join(folder, 'to-'));
  const chunks = (async function* () {
    yield* pieces;
  })();
  await unpackLocal(chunks, { folder: to, rename: (name) => name });
  assert.equal(statSync(join(to, 'shrinking')).size, 8 << 20);
});
