import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Engine } from '../harness/engine.ts';
import { dockerArchive, ociArchive } from './archives.ts';
import { type TarEntry, tar } from './tar-writer.ts';

let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

const good: readonly TarEntry[] = [
  { name: 'bin/', type: 'folder', mode: 0o755 },
  { name: 'bin/hello', content: 'hello', mode: 0o755 },
];
const whole = dockerArchive('bad/archive:1', good);
/** Outside of every root that the engine may write below. */
const victim = '/tmp/fl-e2e-escaped';

const refused: readonly { readonly what: string; readonly archive: Buffer; readonly says: RegExp }[] = [
  { what: 'cut off in the middle', archive: whole.subarray(0, 700), says: /truncated|ends|cut/i },
  {
    what: 'cut off in the middle of gzip',
    archive: gzipSync(whole).subarray(0, 200),
    says: /truncated|ends|cut|gzip/i,
  },
  { what: 'not a tar', archive: Buffer.from('this is a text and no archive\n'.repeat(100)), says: /not a tar|tar/i },
  { what: 'empty', archive: Buffer.alloc(0), says: /empty|tar|truncated|ends/i },
  { what: 'a tar of something else', archive: tar(good), says: /manifest[.]json|index[.]json/ },
  {
    what: 'a layer with another digest',
    archive: dockerArchive('bad/archive:1', good, { wrongDiffId: true }),
    says: /digest|diff/i,
  },
  {
    what: 'a layer that is missing',
    archive: dockerArchive('bad/archive:1', good, { missingLayer: true }),
    says: /layer[.]tar/,
  },
  {
    what: 'a blob that is missing',
    archive: ociArchive('bad/archive:1', good, { missingLayer: true }),
    says: /blob|sha256/i,
  },
  {
    what: 'a blob with another digest',
    archive: ociArchive('bad/archive:1', good, { changedBlob: true }),
    says: /digest/i,
  },
  ...layerCases(),
];

function layerCases() {
  const layers: readonly (readonly [what: string, entries: readonly TarEntry[], says: RegExp])[] = [
    ['an entry with `..`', [{ name: `../../../../../../..${victim}`, content: 'x' }], /[.][.]/],
    [
      'a hard link out of the root',
      [{ name: 'passwd', type: 'hardlink', target: '../../../../../etc/passwd' }],
      /passwd/,
    ],
  ];
  return layers.map(([what, entries, says]) => ({ what, archive: dockerArchive('bad/archive:1', entries), says }));
}

/** Every file that the image service keeps, besides its database and its journals. */
function storedFiles(): readonly string[] {
  return readdirSync(engine.folders.root, { recursive: true, encoding: 'utf8' })
    .filter((name) => !/^(log|nats|compile-cache)(\/|$)|[.](db|sqlite)(-wal|-shm|-journal)?$/.test(name))
    .sort();
}

for (const { what, archive, says } of refused) {
  test(`refused, and nothing is left of it: ${what}`, async () => {
    const before = { files: storedFiles(), images: await engine.ok('images', '--quiet') };
    const loaded = await engine.flotilla(['load'], { input: archive });
    assert.equal(loaded.code, 1, `${loaded.stdout}${loaded.stderr}`);
    assert.match(loaded.stderr, says);
    assert.deepEqual({ files: storedFiles(), images: await engine.ok('images', '--quiet') }, before);
    assert.ok(!existsSync(victim));
  });
}

test('absolute names, and links that lead out, stay inside the root', async () => {
  const entries: readonly TarEntry[] = [
    { name: victim, content: 'x' },
    { name: 'tmp/', type: 'folder', mode: 0o777 },
    { name: 'out', type: 'symlink', target: '/tmp' },
    { name: 'out/fl-e2e-escaped', content: 'x' },
    { name: 'up', type: 'symlink', target: '../../../../../../../../tmp' },
    { name: 'up/fl-e2e-escaped', content: 'x' },
  ];
  const loaded = await engine.flotilla(['load'], { input: dockerArchive('bad/links:1', entries) });
  assert.ok(!existsSync(victim), `${loaded.stdout}${loaded.stderr}`);
  if (loaded.code === 0) await engine.ok('rmi', 'bad/links:1');
  else assert.match(loaded.stderr, /fl-e2e-escaped/);
});

test('a bomb is stopped before it fills the disk', { timeout: 120_000 }, async () => {
  // 64 MiB of zeros in 64 KiB, doubly packed: a layer that says it is small and is not.
  const bomb = gzipSync(gzipSync(Buffer.alloc(64 << 20)));
  const loaded = await engine.flotilla(['load'], { input: dockerArchive('bad/bomb:1', good, { layerBytes: bomb }) });
  assert.equal(loaded.code, 1, loaded.stdout);
});

test('a good archive of either form is taken', async () => {
  for (const [name, archive] of [
    ['docker', whole],
    ['oci', ociArchive('bad/archive:1', good)],
  ] as const) {
    const loaded = await engine.flotilla(['load'], { input: archive });
    assert.equal(loaded.code, 0, `${name}: ${loaded.stderr}`);
    assert.match(await engine.ok('images'), /bad\/archive/);
    await engine.ok('rmi', 'bad/archive:1');
  }
});
