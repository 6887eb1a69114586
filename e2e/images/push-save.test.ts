import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Engine } from '../harness/engine.ts';
import { captain, Registry } from '../harness/registry.ts';
import { mustRun } from '../harness/run-program.ts';
import { inTerminal } from '../harness/terminal.ts';
import { makeTestFolders } from '../harness/test-folders.ts';
import { waitFor } from '../harness/wait.ts';
import { dockerArchive } from './archives.ts';

let engine: Engine;
let registry: Registry;
/** Docker's settings of whoever is logged in, and archives. */
const { folder } = makeTestFolders();
const at = (name: string) => join(folder, name);
const stack = new AsyncDisposableStack();

before(async () => {
  [registry, engine] = await Promise.all([Registry.start(), Engine.start()]);
  stack.use(registry);
  stack.use(engine);
  const busybox = { name: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 };
  writeFileSync(at('in.tar'), dockerArchive(app(1), [{ name: 'bin/', type: 'folder', mode: 0o755 }, busybox]));
  const auth = Buffer.from(`${captain.username}:${captain.password}`).toString('base64');
  writeFileSync(at('config.json'), JSON.stringify({ auths: { [registry.host]: { auth } } }));
  await engine.ok('load', '-i', at('in.tar'));
  await engine.ok('tag', app(1), app(2));
});
after(async () => {
  await stack.disposeAsync();
  rmSync(folder, { recursive: true });
});

const app = (tag: number) => `${registry.host}/team/app:${tag}`;
const flotilla = (...args: readonly string[]) => engine.flotilla(args, { env: { DOCKER_CONFIG: folder } });
const seenDigest = async (name: string) => {
  const creds = `${captain.username}:${captain.password}`;
  const flags = ['--tls-verify=false', '--creds', creds, '--format', '{{.Digest}}'];
  return (await mustRun('skopeo', ['inspect', ...flags, `docker://${name}`])).trim();
};

test('push as Docker prints it, one tag or all; without a log-in it is refused', async () => {
  const nobody = await engine.flotilla(['push', app(1)], { env: { DOCKER_CONFIG: '/no/such/folder' } });
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /wants a user name and a password/);
  const { code, stdout, stderr } = await flotilla('push', app(1));
  assert.deepEqual([code, stderr], [0, '']);
  const pushed =
    /^The push refers to repository \[.*\/team\/app\]\n[0-9a-f]{12}: Pushed\n1: digest: (sha256:\S+) size: \d+\n$/;
  const digest = pushed.exec(stdout)?.[1];
  assert.ok(digest !== undefined, stdout);
  assert.equal(await seenDigest(app(1)), digest);
  const all = await flotilla('push', '--all-tags', `${registry.host}/team/app`);
  assert.match(all.stdout, /: Layer already exists\n1: digest: .*\n.*: Layer already exists\n2: digest: /);
  assert.equal(await seenDigest(app(2)), digest);
  assert.equal((await flotilla('push', '-q', app(2))).stdout, `${app(2)}\n`);
  assert.match((await flotilla('push', '-a', app(2))).stderr, /without a tag, with --all-tags/);
  assert.match((await flotilla('push', 'no/such')).stderr, /no such image: no\/such/);
  assert.match(await engine.ok('events', '--since', '1h', '--until', '0s', '--filter', 'event=push'), /image push /);
});

test('a push goes on when the image service is killed in the middle', async () => {
  await engine.ok('tag', app(1), app(3));
  const before = registry.connections();
  registry.pause();
  const pushing = flotilla('push', app(3));
  try {
    await waitFor('the service asks the registry', () => registry.connections() > before);
    await engine.killAndAwait('image');
  } finally {
    registry.resume();
  }
  const { code, stderr } = await pushing;
  assert.equal(code, 0, stderr);
  assert.equal(await seenDigest(app(3)), await seenDigest(app(1)));
});

test('save to a file and to a pipe gives the same bytes, which load and skopeo read', async () => {
  await engine.ok('tag', app(1), 'plain');
  await engine.ok('save', '-o', at('out.tar'), app(1), 'plain');
  const program = new URL('../../services/cli/bin/flotilla', import.meta.url).pathname;
  const { env } = engine;
  await mustRun('sh', ['-c', `"$0" "$@" > ${at('piped.tar')}`, program, 'save', app(1), 'plain'], { env });
  assert.ok(readFileSync(at('out.tar')).equals(readFileSync(at('piped.tar'))));
  const images = await engine.ok('images', '--no-trunc', 'plain');
  await engine.ok('rmi', 'plain');
  assert.equal(
    await engine.ok('load', '-i', at('out.tar')),
    `Loaded image: ${app(1)}\nLoaded image: plain:latest`,
    'what is in the archive, not all that the image is called',
  );
  assert.equal(await engine.ok('images', '--no-trunc', 'plain'), images);
  const inspected = await mustRun('skopeo', ['inspect', '--config', `docker-archive:${at('out.tar')}:plain:latest`]);
  assert.match(inspected, /"Cmd"/);
  const failed = await flotilla('save', '-o', at('out.tar'), 'plain', 'no/such');
  assert.deepEqual([failed.code, failed.stderr], [1, 'flotilla: no such image: no/such\n']);
  assert.ok(readFileSync(at('out.tar')).equals(readFileSync(at('piped.tar'))), 'what was there stays');
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes('out.tar')),
    ['out.tar'],
  );
  const onTerminal = await inTerminal(engine, ['save', 'plain'], {
    rows: 24,
    columns: 200,
    after: /terminal/,
    typed: [],
  });
  assert.match(onTerminal.output, /standard output that is no terminal/);
  assert.match((await flotilla('save', '-o', '/no/such/folder/x', 'plain')).stderr, /cannot be written/);
});

test('history as Docker shows it', async () => {
  await mustRun('sh', ['-c', 'umoci init --layout oci && umoci new --image oci:s'], { cwd: folder });
  for (const [line, comment, time] of [
    ['a\ttab and a line that goes far beyond forty-five characters', 'remark', '2024-01-02T03:04:05Z'],
    ['short', '', '2024-01-02T03:04:06.5Z'],
  ] as const) {
    const flags = ['--history.created_by', line, '--history.comment', comment, '--history.created', time];
    await mustRun('umoci', ['config', '--image', 'oci:s', '--config.cmd', line, ...flags], { cwd: folder });
  }
  await mustRun('skopeo', ['copy', '-q', '--insecure-policy', 'oci:oci:s', 'docker-archive:s.tar:steps:1'], {
    cwd: folder,
  });
  await engine.ok('load', '-i', at('s.tar'));
  const id = (await engine.ok('inspect', '--format', '{{.imageId}}', 'steps:1')).trim();
  const short = id.slice(7, 19);
  const history = async (...flags: readonly string[]) => (await engine.ok('history', ...flags, 'steps:1')).split('\n');
  const [head, first, second] = await history('--human=false');
  assert.equal(
    head,
    'IMAGE          CREATED AT             CREATED BY                                      SIZE      COMMENT',
  );
  assert.equal(first, `${short}   2024-01-02T03:04:06Z   short                                           0`);
  assert.equal(
    second,
    '<missing>      2024-01-02T03:04:05Z   a tab and a line that goes far beyond forty-…   0         remark',
  );
  assert.deepEqual(await history('-H=false'), await history('--human=false'));
  assert.match((await history())[1] ?? '', /^[0-9a-f]{12} {3}\d years? ago +short +0B$/);
  assert.deepEqual(await history('-q', '--no-trunc'), [id, '<missing>']);
  assert.deepEqual(await history('--format', '{{.ID}}|{{.CreatedAt}}|{{.Size}}|{{.Comment}}'), [
    `${short}|2024-01-02T03:04:06Z|0B|`,
    '<missing>|2024-01-02T03:04:05Z|0B|remark',
  ]);
});
