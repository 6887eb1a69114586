import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { demoImage, Engine } from '../harness/engine.ts';
import { dockerArchive } from '../images/archives.ts';

const megabyte = 1_000_000;
let engine: Engine;
before(async () => {
  engine = await Engine.start();
});
after(() => engine[Symbol.asyncDispose]());

/** An image of one layer with a file of so many bytes; loaded again under the same name, it leaves the one before dangling. */
async function load(name: string, bytes: number): Promise<void> {
  const archive = dockerArchive(name, [{ name: 'data', content: randomBytes(bytes) }]);
  const { code, stderr } = await engine.flotilla(['load'], { input: archive });
  assert.equal(code, 0, stderr);
}

interface Summary {
  readonly Type: string;
  readonly TotalCount: string;
  readonly Active: string;
  readonly Size: string;
  readonly Reclaimable: string;
}

async function summary(): Promise<Record<string, Summary>> {
  const lines = (await engine.ok('system', 'df', '--format', 'json')).split('\n');
  return Object.fromEntries(lines.map((line) => JSON.parse(line) as Summary).map((row) => [row.Type, row]));
}

test('what is used on disk is counted, and prune frees what it says, asking first', async () => {
  await engine.ok(
    'run',
    '--name',
    'over',
    '--label',
    'a=b',
    demoImage,
    'dd',
    'if=/dev/zero',
    'of=/x',
    'bs=1000000',
    'count=2',
  );
  const running = await engine.ok(
    'run',
    '--detach',
    '--volume',
    'used:/data',
    '--volume',
    '/own',
    demoImage,
    'sleep',
    '60',
  );
  await engine.ok('volume', 'create', 'unused');
  const anonymous = await engine.ok('volume', 'create');
  await load('big:1', 3 * megabyte);
  await load('big:1', 2 * megabyte);

  const { Images: images, Containers: containers, 'Local Volumes': volumes } = await summary();
  assert.deepEqual([images?.TotalCount, images?.Active], ['3', '1']);
  // A layer as it is stored, and unpacked.
  assert.match(images?.Reclaimable ?? '', /^10(\.\d+)?MB \(\d+%\)$/);
  assert.deepEqual([containers?.TotalCount, containers?.Active], ['2', '1']);
  assert.match(containers?.Size ?? '', /^2(\.\d+)?MB$/);
  assert.deepEqual([volumes?.TotalCount, volumes?.Active], ['4', '2']);
  const table = await engine.ok('system', 'df', '--verbose');
  assert.match(table, /^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE +SHARED SIZE +UNIQUE SIZE +CONTAINERS$/m);
  assert.match(table, /^big +1 .* 0B +4(\.\d+)?MB +0$/m);
  assert.match(table, /^used +1 +0B$/m);

  const asked = await engine.flotilla(['image', 'prune'], { input: 'n\n' });
  assert.deepEqual(
    [asked.code, asked.stdout],
    [0, 'WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] '],
  );
  assert.equal((await summary()).Images?.TotalCount, '3');
  const answered = await engine.flotilla(['image', 'prune'], { input: 'y\n' });
  assert.match(
    answered.stdout,
    /Deleted Images:\ndeleted: sha256:\S+\ndeleted: sha256:\S+\n\nTotal reclaimed space: 6(\.\d+)?MB\n$/,
  );

  const none = 'Total reclaimed space: 0B';
  assert.equal(await engine.ok('image', 'prune', '--force'), none);
  assert.equal(
    await engine.ok('image', 'prune', '--all', '--force', '--filter', 'until=1h'),
    none,
    'it does not say when it was made',
  );
  assert.equal(await engine.ok('container', 'prune', '--force', '--filter', 'label=other'), none);
  assert.equal(await engine.ok('container', 'prune', '--force', '--filter', 'label!=a'), none);
  assert.equal(await engine.ok('volume', 'prune', '--force'), `Deleted Volumes:\n${anonymous}\n\n${none}`);
  assert.equal(await engine.ok('volume', 'prune', '--all', '--force'), `Deleted Volumes:\nunused\n\n${none}`);
  for (const [args, said] of [
    [['image', 'prune', '--filter', 'colour=red'], /--filter/],
    [['system', 'prune', '--volumes', '--filter', 'until=1h'], /until/],
  ] as const) {
    const refused = await engine.flotilla([...args, '--force']);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, said);
  }

  const all = await engine.ok('system', 'prune', '--all', '--volumes', '--force');
  assert.match(all, /^Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Images:\nuntagged: big:1\ndeleted: /);
  assert.match(all, /Total reclaimed space: 6(\.\d+)?MB$/);
  const left = await summary();
  assert.deepEqual(
    [left.Images?.TotalCount, left.Containers?.TotalCount, left['Local Volumes']?.TotalCount],
    ['1', '1', '2'],
  );
  assert.equal(left.Images?.Reclaimable.replace(/ .*/, ''), '0B');
  assert.equal((await engine.status(running)).state, 'running');
  await engine.ok('container', 'rm', '--force', running);
  assert.equal(await engine.ok('container', 'ls', '--all', '--quiet'), '');
  assert.match(await engine.ok('image', 'ls'), /^flotilla\/demo +latest/m);
});
