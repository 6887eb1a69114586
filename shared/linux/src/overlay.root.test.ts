import assert from 'node:assert/strict';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { MOUNT_ATTR_RDONLY, umount } from './mount.ts';
import { mountOverlay, type OverlayWay, openOverlay } from './overlay.ts';

const skip = process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'mounts: only root, with FLOTILLA_ROOT_TESTS=1';
const folder = mkdtempSync(join(tmpdir(), 'fl-overlay-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Layers with a file each, below a path of `length` bytes; a colon in it would end a name in mount(2)'s text. */
function stack(name: string, layers: number, length: number) {
  let root = join(folder, name);
  while (root.length < length) root = join(root, 'x'.repeat(Math.min(200, length - root.length)));
  const lower = Array.from({ length: layers }, (_, at) => join(root, 'layers', String(1_000_000 + layers - at), 'fs'));
  for (const [at, path] of lower.entries()) {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, `of-${at}`), '');
    writeFileSync(join(path, 'who'), String(at));
  }
  const upper = { path: join(root, 'snapshots/k/fs'), work: join(root, 'snapshots/k/work') };
  for (const path of [upper.path, upper.work, join(root, 'at')]) mkdirSync(path, { recursive: true });
  return { lower, upper, target: join(root, 'at') };
}

const cases: readonly (readonly [name: string, layers: number, length: number, way: OverlayWay])[] = [
  ['few layers and short paths go as they are', 20, 40, 'plain'],
  ['many layers are named from their folder', 200, 40, 'relative'],
  ['few layers with long paths, too', 5, 1_200, 'relative'],
  ['as many as the kernel takes are handed over one by one', 500, 400, 'each'],
];
for (const [name, layers, length, way] of cases) {
  test(`${name} (${layers}, ${length} bytes)`, { skip }, () => {
    const { target, ...request } = stack(way + layers, layers, length);
    const cwd = readlinkSync('/proc/self/cwd');
    const used = mountOverlay(target, request);
    try {
      assert.equal(readdirSync(target).length, layers + 1);
      assert.equal(readFileSync(join(target, 'who'), 'utf8'), '0', 'the uppermost counts');
      writeFileSync(join(target, 'new'), 'x');
      assert.deepEqual(readdirSync(request.upper.path), ['new']);
    } finally {
      umount(target);
    }
    assert.equal(used, way);
    assert.equal(readlinkSync('/proc/self/cwd'), cwd);
  });
}

for (const ways of [['plain'], ['each'], ['relative']] as const) {
  const layers = ways[0] === 'plain' ? 3 : 300;
  test(`layers open as a mount that nobody sees: ${ways[0]}`, { skip }, () => {
    const { lower, upper, target } = stack(`open-${ways[0]}`, layers, ways[0] === 'plain' ? 40 : 700);
    writeFileSync(join(upper.path, 'who'), 'upper');
    const fd = openOverlay([upper.path, ...lower], { attributes: MOUNT_ATTR_RDONLY, scratch: target, ways });
    try {
      assert.equal(readdirSync(`/proc/self/fd/${fd}`).length, layers + 1);
      assert.equal(readFileSync(`/proc/self/fd/${fd}/who`, 'utf8'), 'upper');
      assert.throws(() => writeFileSync(`/proc/self/fd/${fd}/new`, ''), { code: 'EROFS' });
      assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(folder));
    } finally {
      closeSync(fd);
    }
  });
}
