import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Engine } from '../harness/engine.ts';
import { layeredArchive } from './archives.ts';
import type { TarEntry } from './tar-writer.ts';

const base: readonly TarEntry[] = [
  { name: 'bin', type: 'folder', mode: 0o755 },
  { name: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 },
  ...['sh', 'ls', 'cat', 'rm', 'wc'].map((name) => ({
    name: `bin/${name}`,
    type: 'symlink' as const,
    target: 'busybox',
    mode: 0o777,
  })),
  { name: 'etc', type: 'folder', mode: 0o755 },
  { name: 'etc/passwd', content: 'root:x:0:0:root:/:/bin/sh\nown:x:7:7::/:/bin/sh\n' },
];

/** Layers with a file each; every tenth takes away that of the one below. */
function image(layers: number): readonly (readonly TarEntry[])[] {
  return Array.from({ length: layers }, (_, at) => [
    ...(at === 0 ? base : []),
    { name: `layers/${at}`, content: `${at}` },
    { name: 'top', content: `${at}` },
    ...(at % 10 === 9 ? [{ name: `layers/.wh.${at - 1}`, content: '' }] : []),
  ]);
}

async function load(engine: Engine, reference: string, layers: number): Promise<void> {
  const path = join(engine.folders.folder, 'image.tar');
  writeFileSync(path, layeredArchive(reference, image(layers)));
  await engine.ok('load', '--input', path);
}

const look = ['sh', '-c', 'cat /top; echo; ls /layers | wc -l; echo x > /written; cat /written'];

test('an image of 200 layers runs, as its own user, too', async () => {
  await using engine = await Engine.start();
  assert.match(await engine.ok('info'), /Snapshotter:? +overlayfs/);
  await load(engine, 'many:1', 200);
  assert.equal(await engine.ok('run', '--rm', 'many:1', ...look), '199\n180\nx');
  // Whose number is looked up in the image, by another mount than the container's.
  assert.equal(await engine.ok('run', '--rm', '--user', 'own', 'many:1', 'cat', '/top'), '199');
});

test('on plain copies a container is the same, and so are its changes and an image of it', async () => {
  await using engine = await Engine.start({ FLOTILLA_SNAPSHOTTER: 'native' });
  assert.match(await engine.ok('info'), /Snapshotter:? +native/);
  await load(engine, 'few:1', 12);
  assert.equal(await engine.ok('run', '--rm', 'few:1', ...look), '11\n11\nx');
  await engine.ok('run', '--name', 'changed', '--user', 'root', 'few:1', 'sh', '-c', 'rm /layers/0; echo x > /etc/new');
  assert.equal(await engine.ok('diff', 'changed'), 'C /etc\nA /etc/new\nC /layers\nD /layers/0');
  await engine.ok('commit', 'changed', 'made:1');
  assert.equal(await engine.ok('run', '--rm', 'made:1', ...look), '11\n10\nx');
});
