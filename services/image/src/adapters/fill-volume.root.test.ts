import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { fillMounted, fillVolume, finishFilling } from './fill-volume.ts';

const skip =
  process.env.FLOTILLA_ROOT_TESTS === '1' ? false : 'gives files away: only root, with FLOTILLA_ROOT_TESTS=1';
const folder = mkdtempSync(join(tmpdir(), 'fl-fill-'));
const [image, volume] = [join(folder, 'image'), join(folder, 'volume')];
const data = join(volume, '_data');
after(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  for (const path of [image, volume]) rmSync(path, { recursive: true, force: true });
  mkdirSync(join(image, 'sub'), { recursive: true });
  mkdirSync(data, { recursive: true });
  writeFileSync(join(image, 'file'), 'file');
  writeFileSync(join(image, 'sub/deep'), 'deep');
  if (skip === false) execFileSync('chown', ['-R', '5:6', image]);
  chmodSync(image, 0o2751);
});

async function withImage(work: (fd: number) => Promise<void>): Promise<void> {
  const fd = openSync(image, 'r');
  try {
    await work(fd);
  } finally {
    closeSync(fd);
  }
}
const names = () => readdirSync(data).sort();

test('an empty volume gets the files, their owners, and the folder’s own mode; it stays the same folder', {
  skip,
}, async () => {
  const { ino } = statSync(data);
  await withImage((fd) => fillVolume(fd, { folder: volume, data }));
  assert.deepEqual(names(), ['file', 'sub']);
  assert.equal(readFileSync(join(data, 'sub/deep'), 'utf8'), 'deep');
  const status = statSync(data);
  assert.deepEqual([status.ino, status.mode & 0o7777, status.uid, status.gid], [ino, 0o2751, 5, 6]);
  assert.deepEqual(readdirSync(volume), ['_data'], 'nothing is left beside');
});

test('a volume that holds anything is left alone', { skip }, async () => {
  writeFileSync(join(data, 'mine'), '');
  await withImage((fd) => fillVolume(fd, { folder: volume, data }));
  assert.deepEqual(names(), ['mine']);
  await withImage((fd) => fillMounted(fd, data));
  assert.deepEqual(names(), ['mine']);
});

test('a copy that was cut off is begun anew', { skip }, async () => {
  mkdirSync(join(volume, 'filling'));
  writeFileSync(join(volume, 'filling/half'), '');
  await withImage((fd) => fillVolume(fd, { folder: volume, data }));
  assert.deepEqual(names(), ['file', 'sub']);
});

test('a copy that is whole is moved in to the end, and what a container made meanwhile stays', { skip }, async () => {
  mkdirSync(join(volume, 'filled/sub'), { recursive: true });
  for (const name of ['one', 'two']) writeFileSync(join(volume, 'filled', name), 'image');
  renameSync(join(volume, 'filled/one'), join(data, 'one'));
  writeFileSync(join(data, 'two'), 'container');
  assert.equal(await finishFilling({ folder: volume, data }), true);
  assert.deepEqual(names(), ['one', 'sub', 'two']);
  assert.equal(readFileSync(join(data, 'two'), 'utf8'), 'container');
  assert.ok(!existsSync(join(volume, 'filled')));
  assert.equal(await finishFilling({ folder: volume, data }), false);
});
