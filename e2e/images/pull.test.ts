import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { after, before, test } from 'node:test';
import { Engine } from '../harness/engine.ts';
import { captain, Registry } from '../harness/registry.ts';
import { makeTestFolders } from '../harness/test-folders.ts';
import { waitFor } from '../harness/wait.ts';
import { dockerArchive } from './archives.ts';

let engine: Engine;
let registry: Registry;
/** Docker's settings of whoever is logged in, and a credential helper. */
const login = makeTestFolders().folder;
const stack = new AsyncDisposableStack();

before(async () => {
  [registry, engine] = await Promise.all([Registry.start(), Engine.start()]);
  stack.use(registry);
  stack.use(engine);
  const busybox = { name: 'bin/busybox', content: readFileSync('/bin/busybox'), mode: 0o755 };
  await registry.push(dockerArchive('app:1', [{ name: 'bin/', type: 'folder', mode: 0o755 }, busybox]), 'team/app:1');
  const auth = Buffer.from(`${captain.username}:${captain.password}`).toString('base64');
  writeFileSync(join(login, 'config.json'), JSON.stringify({ auths: { [registry.host]: { auth } } }));
});
after(async () => {
  await stack.disposeAsync();
  rmSync(login, { recursive: true });
});

const flotilla = (args: readonly string[], env: NodeJS.ProcessEnv = { DOCKER_CONFIG: login }) =>
  engine.flotilla(args, { env });
const app = () => `${registry.host}/team/app:1`;

test('pull as Docker prints it; without a log-in it is refused; who is logged in the settings and helpers say', async () => {
  const nobody = await flotilla(['pull', app()], { DOCKER_CONFIG: '/no/such/folder' });
  assert.deepEqual([nobody.code, nobody.stdout.split('\n')[0]], [1, '1: Pulling from team/app']);
  assert.match(nobody.stderr, /^flotilla: 127\.0\.0\.1:\d+\/team\/app:1: registry 127\.0\.0\.1:\d+ wants a user name/);
  const { code, stdout, stderr } = await flotilla(['pull', app()]);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(
    stdout,
    /^1: Pulling from team\/app\nDigest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for .*:1\n.*\/team\/app:1\n$/,
  );
  const digest = /sha256:[0-9a-f]{64}/.exec(stdout)?.[0];
  const helper = join(login, 'docker-credential-test');
  writeFileSync(
    helper,
    `#!/bin/sh\necho '${JSON.stringify({ Username: captain.username, Secret: captain.password })}'\n`,
  );
  chmodSync(helper, 0o755);
  const config = mkdtempSync(join(login, 'other-'));
  writeFileSync(join(config, 'config.json'), JSON.stringify({ credHelpers: { [registry.host]: 'test' } }));
  const env = { DOCKER_CONFIG: config, PATH: `${login}${delimiter}${process.env.PATH}` };
  const again = await flotilla(['pull', `${registry.host}/team/app@${digest}`], env);
  assert.match(again.stdout, /Status: Image is up to date for /, again.stderr);
  assert.equal((await flotilla(['pull', '--quiet', app()])).stdout, `${app()}\n`);
  assert.match(
    await engine.ok('images', '--digests', `${registry.host}/team/app`),
    new RegExp(`team/app +1 +${digest}`),
  );
});

test('run and create fetch what is not there, by --pull and --platform', async () => {
  assert.equal((await flotilla(['rmi', '--force', app()])).code, 0);
  const never = await flotilla(['run', '--rm', '--pull', 'never', app(), '/bin/busybox', 'true']);
  assert.equal(never.code, 125);
  const run = await flotilla(['run', '--rm', app(), '/bin/busybox', 'echo', 'hello']);
  assert.deepEqual([run.code, run.stdout], [0, 'hello\n'], run.stderr);
  assert.match(run.stderr, /^Unable to find image '.*team\/app:1' locally\n/);
  const there = await flotilla(['run', '--rm', app(), '/bin/busybox', 'echo', 'hello']);
  assert.deepEqual([there.stdout, there.stderr], ['hello\n', '']);
  const always = await flotilla(['create', '--pull', 'always', app(), '/bin/busybox', 'true']);
  assert.match(always.stderr, /Image is up to date/);
  await engine.ok('rm', always.stdout.trim());
  assert.equal((await flotilla(['run', '--rm', '--pull', 'always', '-q', app(), '/bin/busybox', 'true'])).stderr, '');
  for (const [platform, says] of [
    ['linux/s390x', /no image for linux\/s390x, only for linux\/a/],
    ['nonsense', /platform must be/],
  ] as const) {
    const foreign = await flotilla(['run', '--rm', '--platform', platform, app(), '/bin/busybox', 'true']);
    assert.equal(foreign.code, 125);
    assert.match(foreign.stderr, says);
  }
  assert.match(
    (await flotilla(['run', '--pull', 'sometimes', app()])).stderr,
    /--pull must be missing, always or never/,
  );
  const events = await engine.ok('events', '--since', '1h', '--until', '0s', '--filter', 'event=pull');
  assert.match(events, /image pull /);
});

test('a pull goes on when the image service is killed in the middle', async () => {
  assert.equal((await flotilla(['rmi', '--force', app()])).code, 0);
  const before = registry.connections();
  registry.pause();
  const pulling = flotilla(['pull', app()]);
  try {
    await waitFor('the service asks the registry', () => registry.connections() > before);
    await engine.killAndAwait('image');
  } finally {
    registry.resume();
  }
  const { code, stdout, stderr } = await pulling;
  assert.equal(code, 0, stderr);
  assert.match(stdout, /Status: Downloaded newer image/);
});
